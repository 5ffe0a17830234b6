import { addon } from './addon.ts';
import { check } from './check.ts';

/** Arguments of mount(2), and the path at which the mounted root is then found. */
export interface ClassicMount {
  readonly source: string;
  readonly target: string;
  readonly type: string;
  readonly flags: number;
  readonly data: string;
  readonly path: string;
}

/**
 * Starts a process of its own, the guard, that calls mount(2) and sends the errno (0: mounted) through its copy of
 * `socket`, four bytes in host order. Then it waits: one byte sent to it, and it leaves the mount alone; an empty
 * packet, or the end of the last other end of `socket`, and it detaches the mount. Either way it ends. It inherits
 * standard output and error and nothing else.
 */
export function forkMountGuard(socket: number, call: ClassicMount): void {
  const { source, target, type, flags, data, path } = call;
  check(addon.forkMountGuard(socket, source, target, type, flags, data, path), 'mount', path);
}
