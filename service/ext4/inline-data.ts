/**
 * Data kept inside the inode (kernel docs: ext4, "Inline Data"): the 60 bytes of i_block, then the value
 * of the attribute "system.data", which is there even when it is empty.
 */
import type { CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import { CorruptionError } from './errors.ts';
import type { Inode } from './inode.ts';
import { INODE } from './layout/inode.ts';
import { XattrIndex, xattrValueInode, xattrValueSize } from './layout/xattr.ts';
import { XattrRegion } from './xattr-region.ts';

const DATA_NAME = Uint8Array.from('data', (letter) => letter.charCodeAt(0));

/** Where in its block of the inode table an inode's inline data is. Reused by callers. */
export class InlinePlace {
  /** The first 60 bytes. */
  headAt = 0;
  /** The rest. */
  tailAt = 0;
  tailBytes = 0;
}

const region = new XattrRegion();
const place = new InlinePlace();

/** Fills `out` and returns the block. Throws when the inode has no place for inline data. */
export function findInlineData(ctx: Ext4Context, inode: Inode, out: InlinePlace): CachedBlock {
  const entry = region.openInode(ctx, inode) ? region.find(XattrIndex.SYSTEM, DATA_NAME, 0, DATA_NAME.length) : -1;
  if (entry < 0) {
    throw new CorruptionError('inline data', 'no system.data attribute', { inode: inode.ino, block: inode.tableBlock });
  }
  if (xattrValueInode(region.view, entry) !== 0) {
    throw new CorruptionError('inline data', 'system.data in an inode of its own', { inode: inode.ino });
  }
  out.headAt = inode.tableOffset + INODE.i_block;
  out.tailBytes = xattrValueSize(region.view, entry);
  out.tailAt = out.tailBytes === 0 ? out.headAt : region.valueAt(entry);
  return ctx.cache.get(inode.tableBlock);
}

/** The content of an inode whose data is inline: as many bytes as its size says. */
export function readInlineData(ctx: Ext4Context, inode: Inode): Uint8Array {
  const { bytes } = findInlineData(ctx, inode, place);
  const capacity = INODE.I_BLOCK_SIZE + place.tailBytes;
  const size = inode.sizeBytes;
  if (size > capacity) {
    throw new CorruptionError('inline data', `size ${size} of ${capacity}`, { inode: inode.ino });
  }
  const data = new Uint8Array(size);
  const headBytes = Math.min(size, INODE.I_BLOCK_SIZE);
  data.set(bytes.subarray(place.headAt, place.headAt + headBytes));
  data.set(bytes.subarray(place.tailAt, place.tailAt + size - headBytes), headBytes);
  return data;
}
