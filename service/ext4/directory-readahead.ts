/** Tells the device which blocks a directory scan will want, in runs as long as the mapping has them. */
import type { Ext4Context } from './context.ts';
import { directoryBlocks } from './directory-block.ts';
import type { Inode } from './inode.ts';
import { Mapping, MappingType } from './mapping.ts';

/** A linear scan asks for this much at a time. */
export const LINEAR_WINDOW_BYTES = 512 * 1024;
/** Hash order jumps all over the directory, so what is wanted is wanted at once. */
export const HASH_ORDER_WINDOW_BYTES = 16 * 1024 * 1024;
/** A fragmented directory costs one request per fragment: not more than this many. */
const MAX_RUNS = 64;

const run = new Mapping();

/**
 * Asks for the blocks [lblk, lblk + windowBytes / block size), unless the first of them is cached: then
 * the rest has been asked for before.
 */
export function readAheadDirectory(ctx: Ext4Context, dir: Inode, lblk: number, windowBytes: number): void {
  const end = Math.min(directoryBlocks(ctx, dir), lblk + Math.floor(windowBytes / ctx.blockSize));
  let from = lblk;
  for (let runs = 0; from + 1 < end && runs < MAX_RUNS; runs++) {
    ctx.mapBlocks(dir, from, run);
    const skipped = from - run.lblk;
    const count = Math.min(run.lenBlocks - skipped, end - from);
    if (count < 1) return;
    if (run.type === MappingType.WRITTEN) {
      if (runs === 0 && ctx.cache.has(run.pblk)) return;
      ctx.cache.readAhead(run.pblk, count);
    }
    from += count;
  }
}
