import { Errno } from '../shared/errno.ts';
import { addon } from './addon.ts';
import { check } from './check.ts';

// Linux keeps credentials per thread, and Node has threads before any of our code runs. The order that
// leaves none of them with privilege:
//   becomeUser          ids of every thread; with the last id 0 the kernel takes every thread's effective,
//                       permitted and ambient capabilities
//   dropCapabilities    what is left on the calling thread
//   setNoNewPrivileges  every thread
// What remains: threads that existed before keep their bounding set. It only limits what a program started
// later could gain, and with no_new_privs that is nothing. Threads started later have it empty.

/**
 * Empties the effective, permitted, inheritable, ambient and bounding capability sets of the calling thread and
 * those it starts. The ids can't be changed afterwards, so `becomeUser` comes first.
 */
export function dropCapabilities(): void {
  check(addon.dropCapabilities(), 'capset', '');
}

/** No program started from here ever gains privilege (setuid, file capabilities): every thread. */
export function setNoNewPrivileges(): void {
  check(addon.setNoNewPrivileges(), 'prctl PR_SET_NO_NEW_PRIVS', '');
}

/** Off: no core dumps, no ptrace and no /proc/self/mem by other processes of the same user. */
export function setDumpable(on: boolean): void {
  check(addon.setDumpable(on), 'prctl PR_SET_DUMPABLE', '');
}

/**
 * Memory reclaim must not wait for file systems that we serve (PR_SET_IO_FLUSHER): the calling thread and those
 * it starts. Needs CAP_SYS_RESOURCE. Returns whether it worked.
 */
export function trySetIoFlusher(): boolean {
  return addon.setIoFlusher() === 0;
}

/** Gives up root for good: supplementary groups, group and user ids of every thread. Neither id may be 0. */
export function becomeUser(uid: number, gid: number): void {
  check(addon.becomeUser(uid, gid), 'setresuid', `${uid}:${gid}`);
}

/**
 * From now on no thread opens a file by its name or reaches anything outside by network or signal, whatever its user
 * may do: the kernel's Landlock. Needs `setNoNewPrivileges` before. Returns false where the kernel has none.
 */
export function denyOutsideAccess(): boolean {
  const result = addon.denyOutsideAccess();
  if (result === -Errno.ENOSYS || result === -Errno.EOPNOTSUPP) return false;
  check(result, 'landlock_restrict_self', '');
  return true;
}

/** Every system call that serving doesn't need fails with EPERM from now on, in every thread. Can't be undone. */
export function restrictSystemCalls(): void {
  check(addon.restrictSystemCalls(), 'seccomp', '');
}
