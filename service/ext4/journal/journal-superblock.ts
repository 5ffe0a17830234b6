import { u8, u32be, viewOf } from '../../../shared/bytes.ts';
import type { BlockDevice } from '../block-device.ts';
import type { Crc32c } from '../checksum.ts';
import { CorruptionError, DeviceError, IncompatibleError } from '../errors.ts';
import {
  JOURNAL_DEFAULT_FAST_COMMIT_BLOCKS,
  JOURNAL_HEADER,
  JOURNAL_MAGIC,
  JOURNAL_MAX_BLOCKS,
  JOURNAL_MIN_BLOCKS,
  JOURNAL_SUPERBLOCK,
  JournalBlockType,
  JournalChecksumType,
  JournalCompat,
  JournalIncompat,
} from '../layout/journal.ts';
import { crcWithZeroedField } from './checksum-field.ts';

/** The file that holds the journal: inode 8, or its copy in the superblock. */
export interface JournalFile {
  readonly lengthBlocks: number;
  /** Device block of the journal's block `journalBlockNr`. Throws CorruptionError for a hole or a bad block map. */
  physicalBlock(journalBlockNr: number): number;
}

const KNOWN_INCOMPAT = Object.values(JournalIncompat).reduce((bits, bit) => bits | bit, 0);
const structure = 'journal superblock';

/**
 * The journal superblock, decoded; `readJournalSuperblock` is the way to a checked one. Block numbers count
 * from the journal's start.
 */
export class JournalSuperblock {
  readonly magic: number;
  readonly blockType: number;
  readonly blockSizeBytes: number;
  readonly lengthBlocks: number;
  readonly firstBlock: number;
  /** Sequence number of the transaction at `startBlock`. */
  readonly sequence: number;
  /** Where the log of an empty journal goes on; may be out of range. */
  readonly headBlock: number;
  /** Why the journal was aborted: a negative errno in 32 bits; 0 when it was not. */
  readonly errno: number;
  /** Where the log begins; 0 when nothing needs recovery. */
  readonly startBlock: number;
  readonly compat: number;
  readonly incompat: number;
  readonly roCompat: number;
  readonly uuid: Uint8Array;
  readonly checksumType: number;
  readonly checksum: number;
  /** Blocks at the end of the journal that are set aside for fast commits. */
  readonly fastCommitBlocks: number;

  constructor(view: DataView) {
    const o = JOURNAL_SUPERBLOCK;
    this.magic = u32be(view, JOURNAL_HEADER.h_magic);
    this.blockType = u32be(view, JOURNAL_HEADER.h_blocktype);
    this.blockSizeBytes = u32be(view, o.s_blocksize);
    this.lengthBlocks = u32be(view, o.s_maxlen);
    this.firstBlock = u32be(view, o.s_first);
    this.sequence = u32be(view, o.s_sequence);
    this.startBlock = u32be(view, o.s_start);
    this.errno = u32be(view, o.s_errno);
    const version2 = this.blockType === JournalBlockType.SUPERBLOCK_V2;
    const u32OfVersion2 = (offset: number): number => (version2 ? u32be(view, offset) : 0);
    this.compat = u32OfVersion2(o.s_feature_compat);
    this.incompat = u32OfVersion2(o.s_feature_incompat);
    this.roCompat = u32OfVersion2(o.s_feature_ro_compat);
    this.headBlock = u32OfVersion2(o.s_head);
    this.uuid = new Uint8Array(view.buffer, view.byteOffset + o.s_uuid, 16).slice();
    this.checksumType = u8(view, o.s_checksum_type);
    this.checksum = u32be(view, o.s_checksum);
    const hasFastCommit = (this.incompat & JournalIncompat.FAST_COMMIT) !== 0;
    this.fastCommitBlocks = hasFastCommit ? u32be(view, o.s_num_fc_blks) || JOURNAL_DEFAULT_FAST_COMMIT_BLOCKS : 0;
  }

  /** The log wraps round from here to `firstBlock`. */
  get endBlock(): number {
    return this.lengthBlocks - this.fastCommitBlocks;
  }

  /** First block of the fast-commit area. The kernel leaves `endBlock` itself unused. */
  get fastCommitFirstBlock(): number {
    return this.endBlock + 1;
  }

  hasIncompat(bit: number): boolean {
    return (this.incompat & bit) !== 0;
  }

  /** Transactions carry one CRC32 in their commit block ("checksum v1"). */
  get hasTransactionChecksum(): boolean {
    return (this.compat & JournalCompat.CHECKSUM) !== 0;
  }

  /** Every block of the log is checksummed ("checksum v2" and "v3"). */
  get hasBlockChecksums(): boolean {
    return (this.incompat & (JournalIncompat.CSUM_V2 | JournalIncompat.CSUM_V3)) !== 0;
  }
}

export function readJournalSuperblock(
  device: BlockDevice,
  blockSize: number,
  fsBlocksCount: number,
  crc32c: Crc32c,
  journal: JournalFile,
): JournalSuperblock {
  return new JournalSuperblock(viewOf(readJournalSuperblockBlock(device, blockSize, fsBlocksCount, crc32c, journal)));
}

/** The block with the journal superblock, which has passed all checks. */
export function readJournalSuperblockBlock(
  device: BlockDevice,
  blockSize: number,
  fsBlocksCount: number,
  crc32c: Crc32c,
  journal: JournalFile,
): Uint8Array {
  if (journal.lengthBlocks < 1) throw new CorruptionError(structure, 'the journal file is empty');
  const blockNr = journal.physicalBlock(0);
  if (blockNr < 1 || blockNr >= fsBlocksCount) {
    throw new CorruptionError(structure, `lies at block ${blockNr} of ${fsBlocksCount}`);
  }
  const bytes = new Uint8Array(blockSize);
  const errno = device.read(blockNr * blockSize, bytes);
  if (errno !== 0) throw new DeviceError(errno, 'read', blockNr * blockSize, blockSize);
  const superblock = new JournalSuperblock(viewOf(bytes));
  checkFormat(superblock, blockSize, blockNr);
  checkFeatures(superblock, blockNr);
  checkChecksum(superblock, bytes, crc32c, blockNr);
  checkExtent(superblock, journal.lengthBlocks, blockNr);
  return bytes;
}

function checkFormat(superblock: JournalSuperblock, blockSize: number, block: number): void {
  const { magic, blockType, blockSizeBytes } = superblock;
  if (magic !== JOURNAL_MAGIC) {
    throw new CorruptionError(structure, `magic is 0x${magic.toString(16)}, expected 0xc03b3998`, { block });
  }
  if (blockType !== JournalBlockType.SUPERBLOCK_V1 && blockType !== JournalBlockType.SUPERBLOCK_V2) {
    throw new CorruptionError(structure, `block type is ${blockType}, expected 3 or 4`, { block });
  }
  if (blockSizeBytes !== blockSize) {
    throw new CorruptionError(structure, `block size is ${blockSizeBytes}, expected ${blockSize}`, { block });
  }
}

function checkFeatures(superblock: JournalSuperblock, block: number): void {
  const unknownIncompat = (superblock.incompat & ~KNOWN_INCOMPAT) >>> 0;
  if (unknownIncompat !== 0) {
    throw new IncompatibleError(`journal has unsupported incompatible feature(s) 0x${unknownIncompat.toString(16)}`);
  }
  if (superblock.roCompat !== 0) {
    throw new IncompatibleError(
      `journal has unsupported read-only-compatible feature(s) 0x${superblock.roCompat.toString(16)}`,
    );
  }
  const bothBlockChecksums =
    superblock.hasIncompat(JournalIncompat.CSUM_V2) && superblock.hasIncompat(JournalIncompat.CSUM_V3);
  if (bothBlockChecksums || (superblock.hasBlockChecksums && superblock.hasTransactionChecksum)) {
    throw new CorruptionError(structure, 'more than one checksum version is enabled', { block });
  }
}

function checkChecksum(superblock: JournalSuperblock, bytes: Uint8Array, crc32c: Crc32c, block: number): void {
  if (!superblock.hasBlockChecksums) return;
  if (superblock.checksumType !== JournalChecksumType.CRC32C) {
    throw new IncompatibleError(`journal has unsupported checksum type ${superblock.checksumType}`);
  }
  const computed = crcWithZeroedField(
    crc32c,
    0xffffffff,
    bytes,
    JOURNAL_SUPERBLOCK.s_checksum,
    JOURNAL_SUPERBLOCK.SIZE,
  );
  if (computed !== superblock.checksum) throw new CorruptionError(structure, 'checksum mismatch', { block });
}

function checkExtent(superblock: JournalSuperblock, fileLengthBlocks: number, block: number): void {
  const { lengthBlocks, firstBlock, startBlock, endBlock } = superblock;
  const fail = (finding: string): never => {
    throw new CorruptionError(structure, finding, { block });
  };
  if (lengthBlocks > fileLengthBlocks)
    fail(`s_maxlen is ${lengthBlocks}, the journal file has ${fileLengthBlocks} blocks`);
  if (lengthBlocks > JOURNAL_MAX_BLOCKS) fail(`s_maxlen is ${lengthBlocks}, the limit is ${JOURNAL_MAX_BLOCKS}`);
  if (superblock.blockType === JournalBlockType.SUPERBLOCK_V2 && endBlock < JOURNAL_MIN_BLOCKS) {
    fail(`${endBlock} blocks are left for the log, at least ${JOURNAL_MIN_BLOCKS} are needed`);
  }
  if (firstBlock === 0 || firstBlock >= endBlock) fail(`s_first is ${firstBlock}, expected 1 to ${endBlock - 1}`);
  if (startBlock !== 0 && (startBlock < firstBlock || startBlock >= endBlock)) {
    fail(`s_start is ${startBlock}, expected 0 or ${firstBlock} to ${endBlock - 1}`);
  }
}
