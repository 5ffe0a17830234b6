import fc from 'fast-check';
import { CorruptionError, IncompatibleError } from '../../service/ext4/errors.ts';
import type { Entry } from './directory-builder.ts';

/** Entries with names of any bytes that names may have, all different; "." and ".." are not among them. */
export const directoryEntries = (minEntries: number, maxEntries: number, maxNameBytes: number) =>
  fc
    .uniqueArray(
      fc
        .uint8Array({ minLength: 1, maxLength: maxNameBytes, min: 1 })
        .filter((name) => !name.includes(0x2f) && !(name[0] === 0x2e && name.length <= 2)),
      { minLength: minEntries, maxLength: maxEntries, selector: (name) => Buffer.from(name).toString('hex') },
    )
    .map((list): Entry[] => list.map((name, index) => ({ name, ino: 100 + index, type: 1 + (index % 7) })));

/** How many entries the sink takes at a time. */
export const sinkRooms = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 });

/** Runs and takes a refusal for an answer, null; anything else that is thrown is a fault. */
export function refusedOr<T>(action: () => T): T | null {
  try {
    return action();
  } catch (error) {
    if (error instanceof CorruptionError || error instanceof IncompatibleError) return null;
    throw error;
  }
}
