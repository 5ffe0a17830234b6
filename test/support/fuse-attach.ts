import { closeQuietly } from '../../native/descriptor.ts';
import {
  attachMount,
  createSuperblock,
  detachedMount,
  openContext,
  pinPath,
  setContextFlag,
  setContextString,
} from '../../native/mount-api.ts';

const MOUNT_ATTR_RDONLY = 1;

/** Mounts the connection of `fuseFd` as root, without any helper. `words` are options of the kernel's fuse type. */
export function attachFuse(fuseFd: number, source: string, mountPoint: string, words: readonly string[]): void {
  const context = openContext('fuse');
  setContextString(context, 'source', source);
  setContextString(context, 'subtype', 'test');
  setContextString(context, 'fd', String(fuseFd));
  setContextString(context, 'rootmode', '40000');
  setContextString(context, 'user_id', '0');
  setContextString(context, 'group_id', '0');
  for (const word of words) setContextFlag(context, word);
  createSuperblock(context);
  const detached = detachedMount(context, words.includes('ro') ? MOUNT_ATTR_RDONLY : 0);
  const pinned = pinPath(mountPoint);
  attachMount(detached, pinned);
  [context, detached, pinned].forEach(closeQuietly);
}
