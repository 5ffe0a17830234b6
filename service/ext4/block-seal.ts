import { BlockRole, type CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import { sealDirectoryLeaf } from './directory-leaf-write.ts';
import { sealExtentNode } from './extent-node.ts';
import { sealIndexBlock } from './htree-node-write.ts';
import { sealOrphanBlock } from './orphan-file.ts';
import { sealSuperblock } from './superblock-write.ts';
import { sealXattrBlock } from './xattr-block-write.ts';

/** Whoever knows which descriptors of a block were changed. */
export interface DescriptorSealer {
  seal(block: CachedBlock): void;
}

/**
 * Makes the checksum of a changed block, according to its role. The journal calls this once per block and
 * transaction, when it takes the block's content for the log. May change nothing but this block's own bytes.
 */
export function sealBlock(ctx: Ext4Context, descriptors: DescriptorSealer, block: CachedBlock): void {
  switch (block.role) {
    case BlockRole.PLAIN:
      return;
    case BlockRole.EXTENT_NODE:
      sealExtentNode(ctx.checksum, block);
      return;
    case BlockRole.DIRECTORY_LEAF:
      sealDirectoryLeaf(ctx, block);
      return;
    case BlockRole.HTREE_NODE:
      sealIndexBlock(ctx, block);
      return;
    case BlockRole.XATTR_BLOCK:
      sealXattrBlock(ctx, block);
      return;
    case BlockRole.BLOCK_BITMAP:
    case BlockRole.INODE_BITMAP:
      // Their checksums are in the group descriptors, made when the transaction closes.
      return;
    case BlockRole.GROUP_DESCRIPTORS:
      descriptors.seal(block);
      return;
    case BlockRole.SUPERBLOCK:
      sealSuperblock(ctx.checksum, block);
      return;
    case BlockRole.ORPHAN_BLOCK:
      sealOrphanBlock(ctx, block);
      return;
  }
}
