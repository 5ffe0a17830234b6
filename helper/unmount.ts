import { spawnSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { pinPath, UnmountFlag, unmount } from '../native/mount-api.ts';
import { BrokerConnection } from './broker/connection.ts';
import { resolveParent } from './mount-point.ts';
import { failureText, type Report } from './report.ts';

const FUSERMOUNT = 'fusermount3';

/** Root unmounts whatever is there, others only what is theirs. True when it is gone; reports why it is not. */
export function unmountForCaller(word: string, lazy: boolean, report: Report): boolean {
  try {
    const path = resolveParent(word);
    if (process.getuid?.() === 0) unmount(path, UnmountFlag.NOFOLLOW | (lazy ? UnmountFlag.DETACH : 0));
    else return unmountAsUser(path, lazy);
    return true;
  } catch (error) {
    report.error(failureText(error, word));
    return false;
  }
}

function unmountAsUser(path: string, lazy: boolean): boolean {
  const broker = BrokerConnection.open();
  if (broker === null) return unmountByFusermount(path, lazy);
  const parentFd = pinPath(dirname(path));
  try {
    broker.unmount(parentFd, basename(path), lazy);
    return true;
  } finally {
    closeSync(parentFd);
    broker.close();
  }
}

/** It says itself what is wrong. */
function unmountByFusermount(path: string, lazy: boolean): boolean {
  const { error, status } = spawnSync(FUSERMOUNT, ['-u', ...(lazy ? ['-z'] : []), '--', path], { stdio: 'inherit' });
  if (error !== undefined) throw error;
  return status === 0;
}
