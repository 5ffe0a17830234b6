import { addon } from './addon.ts';
import { check } from './check.ts';

/** Flags of umount2(2). */
export const UnmountFlag = Object.freeze({ DETACH: 2, NOFOLLOW: 8 });

/** New configuration context for a file system type. The caller owns the descriptor. */
export function openContext(type: string): number {
  return check(addon.fsopen(type), 'fsopen', type);
}

export function setContextFlag(context: number, key: string): void {
  check(addon.fsconfigFlag(context, key), 'fsconfig', key);
}

export function setContextString(context: number, key: string, value: string): void {
  check(addon.fsconfigString(context, key, value), 'fsconfig', `${key}=${value}`);
}

export function createSuperblock(context: number): void {
  check(addon.fsconfigCreate(context), 'fsconfig', 'create');
}

/** A detached mount of the context's superblock; `attributes` are MOUNT_ATTR_* bits. The caller owns the descriptor. */
export function detachedMount(context: number, attributes: number): number {
  return check(addon.fsmount(context, attributes), 'fsmount', '');
}

/** Attaches a detached mount onto what `targetFd` refers to. */
export function attachMount(mountFd: number, targetFd: number): void {
  check(addon.moveMount(mountFd, targetFd), 'move_mount', '');
}

/** What the kernel has to say about the context so far, e.g. "e fuse: Unknown parameter 'x'". */
export function contextMessages(context: number): string[] {
  return addon.contextMessages(context);
}

export function unmount(target: string, flags: number): void {
  check(addon.unmount(target, flags), 'umount2', target);
}

/** O_PATH|O_NOFOLLOW: a reference to the object that can't be swapped afterwards. */
export function pinPath(path: string): number {
  return check(addon.openPathNoFollow(path), 'open', path);
}
