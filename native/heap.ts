import { addon } from './addon.ts';

/** Gives memory that is free within this process back to the system. Returns whether there was any. */
export function trimHeap(): boolean {
  return addon.trimHeap();
}

/** Lets all threads allocate from one arena of the C library, which keeps less of what was freed than one for each. */
export function shareArena(): void {
  addon.shareArena();
}
