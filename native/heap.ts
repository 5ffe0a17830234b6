import { addon } from './addon.ts';

/** Gives memory that is free within this process back to the system. Returns whether there was any. */
export function trimHeap(): boolean {
  return addon.trimHeap();
}
