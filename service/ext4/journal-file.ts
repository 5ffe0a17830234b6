import { u16le } from '../../shared/bytes.ts';
import type { Ext4Context } from './context.ts';
import { CorruptionError, FsError } from './errors.ts';
import { Inode } from './inode.ts';
import type { JournalFile } from './journal/recovery.ts';
import { EXTENT_MAGIC } from './layout/extent.ts';
import { FileType, INODE, InodeFlag } from './layout/inode.ts';
import { SUPERBLOCK } from './layout/superblock.ts';
import { Mapping, MappingType } from './mapping.ts';

/** s_jnl_backup_type of a superblock that keeps a copy of the journal inode's block map and size. */
const BACKUP_OF_BLOCK_MAP = 1;
/** Words of the copy: i_block, then the two halves of the size. */
const BACKUP_SIZE_HIGH = 15;
const BACKUP_SIZE_LOW = 16;

/** The journal as a file of the file system that it belongs to. */
class InodeJournalFile implements JournalFile {
  readonly lengthBlocks: number;
  readonly #ctx: Ext4Context;
  readonly #inode: Inode;
  readonly #mapping = new Mapping();

  constructor(ctx: Ext4Context, inode: Inode) {
    this.#ctx = ctx;
    this.#inode = inode;
    this.lengthBlocks = Math.floor(inode.sizeBytes / ctx.blockSize);
  }

  physicalBlock(journalBlockNr: number): number {
    const mapping = this.#mapping;
    if (journalBlockNr < 0 || journalBlockNr >= this.lengthBlocks) {
      throw this.#corrupt(`block ${journalBlockNr} is not in 0..${this.lengthBlocks - 1}`);
    }
    if (journalBlockNr < mapping.lblk || journalBlockNr >= mapping.lblk + mapping.lenBlocks) {
      this.#ctx.mapBlocks(this.#inode, journalBlockNr, mapping);
    }
    if (mapping.type !== MappingType.WRITTEN) throw this.#corrupt(`block ${journalBlockNr} is missing`);
    return mapping.pblk + (journalBlockNr - mapping.lblk);
  }

  #corrupt(finding: string): CorruptionError {
    return new CorruptionError('journal', finding, { inode: this.#inode.ino });
  }
}

/**
 * The internal journal. When its inode is damaged, the superblock's copy of the inode's block map is
 * used. `superblockOffsetBytes` is the byte offset of the superblock in use.
 */
export function openJournalFile(ctx: Ext4Context, superblockOffsetBytes: number): JournalFile {
  const { superblock } = ctx;
  try {
    const inode = ctx.inode(superblock.journalInode);
    if (!inode.isRegular) throw new CorruptionError('journal', 'is no regular file', { inode: inode.ino });
    return new InodeJournalFile(ctx, inode);
  } catch (error) {
    const damaged = error instanceof CorruptionError || error instanceof FsError;
    if (!damaged || superblock.journalBackupType !== BACKUP_OF_BLOCK_MAP) throw error;
    return new InodeJournalFile(ctx, backupInode(ctx, superblockOffsetBytes));
  }
}

/** An inode whose i_block is read from its copy in the superblock. */
function backupInode(ctx: Ext4Context, superblockOffsetBytes: number): Inode {
  const { superblock, blockSize } = ctx;
  const inode = new Inode(superblock.journalInode);
  inode.mode = FileType.REGULAR | 0o600;
  inode.linksCount = 1;
  inode.tableBlock = Math.floor(superblockOffsetBytes / blockSize);
  inode.tableOffset = (superblockOffsetBytes % blockSize) + SUPERBLOCK.s_jnl_blocks - INODE.i_block;
  const { view } = ctx.cache.get(inode.tableBlock);
  if (u16le(view, inode.tableOffset + INODE.i_block) === EXTENT_MAGIC) inode.flags = InodeFlag.EXTENTS;
  const words = superblock.journalBackup;
  const size = words[BACKUP_SIZE_HIGH] * 2 ** 32 + words[BACKUP_SIZE_LOW];
  if (size > superblock.blocksCount * blockSize) {
    throw new CorruptionError('journal', `backup of the inode has size ${size}`, { inode: inode.ino });
  }
  inode.sizeBytes = size;
  return inode;
}
