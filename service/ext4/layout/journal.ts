import { u16be, u32be } from '../../../shared/bytes.ts';

/**
 * The journal (jbd2), big endian throughout (kernel docs: ext4, "Journal (jbd2)"; linux/jbd2.h).
 * Only the fast-commit records inside it are little endian: they are ext4's own.
 */
export const JOURNAL_MAGIC = 0xc03b3998;

/** First bytes of every block of the log that is not journalled data. */
export const JOURNAL_HEADER = Object.freeze({ h_magic: 0x0, h_blocktype: 0x4, h_sequence: 0x8, SIZE: 12 });

export const JournalBlockType = Object.freeze({
  DESCRIPTOR: 1,
  COMMIT: 2,
  SUPERBLOCK_V1: 3,
  SUPERBLOCK_V2: 4,
  REVOKE: 5,
});

/** Journal superblock: block 0 of the journal. Version 1 ends before s_feature_compat. */
export const JOURNAL_SUPERBLOCK = Object.freeze({
  s_blocksize: 0xc,
  s_maxlen: 0x10,
  s_first: 0x14,
  s_sequence: 0x18,
  s_start: 0x1c,
  s_errno: 0x20,
  s_feature_compat: 0x24,
  s_feature_incompat: 0x28,
  s_feature_ro_compat: 0x2c,
  s_uuid: 0x30,
  s_checksum_type: 0x50,
  s_num_fc_blks: 0x54,
  s_head: 0x58,
  s_checksum: 0xfc,
  SIZE: 1024,
});

export const JournalCompat = Object.freeze({ CHECKSUM: 0x1 });

export const JournalIncompat = Object.freeze({
  REVOKE: 0x1,
  BIT64: 0x2,
  ASYNC_COMMIT: 0x4,
  CSUM_V2: 0x8,
  CSUM_V3: 0x10,
  FAST_COMMIT: 0x20,
});

/** s_checksum_type and h_chksum_type. */
export const JournalChecksumType = Object.freeze({ NONE: 0, CRC32: 1, CRC32C: 4 });

/** Tag of a descriptor block. Cut short before t_blocknr_high without 64-bit numbers; CSUM_V2 adds 2 bytes. */
export const JOURNAL_TAG = Object.freeze({
  t_blocknr: 0x0,
  t_checksum: 0x4,
  t_flags: 0x6,
  t_blocknr_high: 0x8,
  SIZE_32BIT: 8,
  SIZE_64BIT: 12,
  CSUM_V2_EXTRA: 2,
});

/**
 * Tag of a descriptor block under CSUM_V3: always this size. The used half of t_flags is where the older tag
 * has it.
 */
export const JOURNAL_TAG3 = Object.freeze({
  t_blocknr: 0x0,
  t_flags: 0x6,
  t_blocknr_high: 0x8,
  t_checksum: 0xc,
  SIZE: 16,
});

/** A tag without SAME_UUID is followed by this many bytes of UUID. */
export const JOURNAL_TAG_UUID_SIZE = 16;

/** DELETED is defined by the format but recovery gives it no meaning. */
export const JournalTagFlag = Object.freeze({ ESCAPE: 1, SAME_UUID: 2, DELETED: 4, LAST_TAG: 8 });

/** Last bytes of descriptor and revoke blocks under CSUM_V2 and CSUM_V3: their checksum. */
export const JOURNAL_BLOCK_TAIL_SIZE = 4;

/** Revoke block: r_count is in bytes and includes this header; block numbers of 4 or 8 bytes follow. */
export const JOURNAL_REVOKE = Object.freeze({ r_count: 0xc, SIZE: 16 });

export const JOURNAL_COMMIT = Object.freeze({
  h_chksum_type: 0xc,
  h_chksum_size: 0xd,
  h_chksum: 0x10,
  h_commit_sec: 0x30,
  h_commit_nsec: 0x38,
  /** The rest of the block is zeros. */
  SIZE: 0x3c,
});

/** h_chksum_size of a CRC32. */
export const JOURNAL_CRC32_SIZE = 4;

/** A journal of a version 2 superblock has at least this many blocks beside its fast-commit area. */
export const JOURNAL_MIN_BLOCKS = 1024;
/** The longest journal that mke2fs makes. */
export const JOURNAL_MAX_BLOCKS = 10_240_000;
/** Blocks of the fast-commit area when s_num_fc_blks is 0. */
export const JOURNAL_DEFAULT_FAST_COMMIT_BLOCKS = 256;

/** Fast-commit records: tag, length of the value, value; little endian (kernel: ext4/fast_commit.h). */
export const FAST_COMMIT_RECORD = Object.freeze({ fc_tag: 0x0, fc_len: 0x2, SIZE: 4 });
export const FAST_COMMIT_HEAD = Object.freeze({ fc_features: 0x0, fc_tid: 0x4, SIZE: 8 });
export const FAST_COMMIT_TAIL = Object.freeze({ fc_tid: 0x0, fc_crc: 0x4, SIZE: 8 });
export const FastCommitTag = Object.freeze({
  ADD_RANGE: 0x1,
  DEL_RANGE: 0x2,
  CREAT: 0x3,
  LINK: 0x4,
  UNLINK: 0x5,
  INODE: 0x6,
  PAD: 0x7,
  TAIL: 0x8,
  HEAD: 0x9,
});

export const journalTagSize = (incompat: number): number => {
  if ((incompat & JournalIncompat.CSUM_V3) !== 0) return JOURNAL_TAG3.SIZE;
  const base = (incompat & JournalIncompat.BIT64) !== 0 ? JOURNAL_TAG.SIZE_64BIT : JOURNAL_TAG.SIZE_32BIT;
  return (incompat & JournalIncompat.CSUM_V2) !== 0 ? base + JOURNAL_TAG.CSUM_V2_EXTRA : base;
};

/** Number of the file-system block that a tag speaks of. `is64bit`: the journal has the 64BIT feature. */
export const journalTagBlockNr = (view: DataView, at: number, is64bit: boolean): number =>
  u32be(view, at + JOURNAL_TAG.t_blocknr) + (is64bit ? u32be(view, at + JOURNAL_TAG.t_blocknr_high) * 2 ** 32 : 0);

export const journalTagFlags = (view: DataView, at: number): number => u16be(view, at + JOURNAL_TAG.t_flags);
