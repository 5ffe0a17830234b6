/** What stands behind a range of a file. */
export const MappingType = Object.freeze({ HOLE: 0, WRITTEN: 1, UNWRITTEN: 2, INLINE: 3 });

/**
 * The answer to "where is this file block": the longest run around `lblk` that one extent, one run of
 * indirect pointers or one hole covers. Reused by callers, so that asking allocates nothing.
 *
 * All numbers are in file-system blocks. The run starts at file block `lblk`, at or before the block asked
 * for, and at device block `pblk` (0 for holes and inline data).
 */
export class Mapping {
  type: number = MappingType.HOLE;
  lblk = 0;
  pblk = 0;
  lenBlocks = 0;

  set(type: number, lblk: number, pblk: number, lenBlocks: number): void {
    this.type = type;
    this.lblk = lblk;
    this.pblk = pblk;
    this.lenBlocks = lenBlocks;
  }
}
