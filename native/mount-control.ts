import { addon } from './addon.ts';
import { check } from './check.ts';

/** Sends an ioctl to the file system behind `fd`; `argument` is what the command reads, writes, or both. */
export function controlMount(fd: number, command: number, argument: Uint8Array, what: string): void {
  check(addon.controlMount(fd, command, argument), 'ioctl', what);
}

/** Has the kernel write what it keeps of the file system behind `fd`, and the file system what it keeps. */
export function syncFilesystem(fd: number): void {
  check(addon.syncFilesystem(fd), 'syncfs', `fd ${fd}`);
}
