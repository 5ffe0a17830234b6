import type { Handle } from './handle.ts';

/** Runs `change` as one handle: all of it becomes part of the file system, or, when it throws, nothing. */
export function atomically<T>(handle: Handle, change: () => T): T {
  handle.begin();
  try {
    const result = change();
    handle.end();
    return result;
  } catch (error) {
    handle.cancel();
    throw error;
  }
}
