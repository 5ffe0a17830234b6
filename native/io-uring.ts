import { readdirSync, readlinkSync } from 'node:fs';
import { addon } from './addon.ts';
import { check } from './check.ts';
import { setCloseOnExec } from './descriptor.ts';

const STANDARD_STREAMS = [0, 1, 2];
const RING = 'anon_inode:[io_uring]';

/**
 * A process that holds rings starts again as the same program with the same words, in the same process, where it gets
 * none; any other goes on at once. Rings would get past a filter of system calls. Of its descriptors only the standard
 * ones and `socket` come along, so this comes before everything else.
 */
export function restartWithoutRings(socket: number): void {
  if (!holdsRings()) return;
  for (const fd of [...STANDARD_STREAMS, socket]) setCloseOnExec(fd, false);
  const words = [process.argv0, ...process.execArgv, ...process.argv.slice(1)];
  const environment = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
  check(addon.executeWithoutRings(process.execPath, words, environment), 'execve', process.execPath);
}

function holdsRings(): boolean {
  return readdirSync('/proc/self/fd').some((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`) === RING;
    } catch {
      // The one that listed the others is closed again.
      return false;
    }
  });
}
