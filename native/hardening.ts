import { addon } from './addon.ts';
import { check } from './check.ts';

/** Empties the effective, permitted, inheritable, ambient and bounding capability sets of this process. */
export function dropCapabilities(): void {
  check(addon.dropCapabilities(), 'capset', '');
}

export function setNoNewPrivileges(): void {
  check(addon.setNoNewPrivileges(), 'prctl PR_SET_NO_NEW_PRIVS', '');
}

/** Off: no core dumps, no ptrace and no /proc/self/mem by other processes of the same user. */
export function setDumpable(on: boolean): void {
  check(addon.setDumpable(on), 'prctl PR_SET_DUMPABLE', '');
}

/** Memory reclaim must not wait for file systems that we serve (PR_SET_IO_FLUSHER); needs CAP_SYS_RESOURCE. Returns whether it worked. */
export function trySetIoFlusher(): boolean {
  return addon.setIoFlusher() === 0;
}

/** Gives up root for good: supplementary groups, group and user ids of every thread. */
export function becomeUser(uid: number, gid: number): void {
  check(addon.becomeUser(uid, gid), 'setresuid', `${uid}:${gid}`);
}
