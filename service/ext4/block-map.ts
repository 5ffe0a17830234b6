import { Errno } from '../../shared/errno.ts';
import type { CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import { FsError } from './errors.ts';
import { mapExtent } from './extent-tree.ts';
import { mapIndirect } from './indirect-map.ts';
import type { Inode } from './inode.ts';
import { FileType, InodeFlag } from './layout/inode.ts';
import { Mapping, MappingType } from './mapping.ts';

const hasBlocks = (inode: Inode): boolean => {
  const type = inode.fileType;
  return type === FileType.REGULAR || type === FileType.DIRECTORY || type === FileType.SYMLINK;
};

/** Where block `lblk` of the inode's data is; see `Ext4Context.mapBlocks`. */
export function mapBlocks(ctx: Ext4Context, inode: Inode, lblk: number, out: Mapping): void {
  if ((inode.flags & InodeFlag.INLINE_DATA) !== 0) {
    out.set(MappingType.INLINE, 0, 0, Math.max(1, Math.ceil(inode.sizeBytes / ctx.blockSize)));
  } else if (!hasBlocks(inode)) {
    throw new FsError(Errno.EINVAL, `inode ${inode.ino} of mode 0${inode.mode.toString(8)} has no blocks`);
  } else if ((inode.flags & InodeFlag.EXTENTS) !== 0) {
    mapExtent(ctx, inode, lblk, out);
  } else {
    mapIndirect(ctx, inode, lblk, out);
  }
}

const mapping = new Mapping();

/** The inode's block `lblk` through the buffer cache, or null where nothing was ever written. */
export function fileBlock(ctx: Ext4Context, inode: Inode, lblk: number): CachedBlock | null {
  mapBlocks(ctx, inode, lblk, mapping);
  if (mapping.type === MappingType.INLINE) {
    throw new FsError(Errno.EINVAL, `the data of inode ${inode.ino} is inline, not in blocks`);
  }
  if (mapping.type !== MappingType.WRITTEN) return null;
  return ctx.cache.get(mapping.pblk + (lblk - mapping.lblk));
}
