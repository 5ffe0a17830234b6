import { u8, u16le, u32le } from '../../../shared/bytes.ts';

/** Superblock, little endian, 1024 bytes (kernel docs: ext4, "Super Block"). */
export const SUPERBLOCK = Object.freeze({
  s_inodes_count: 0x0,
  s_blocks_count_lo: 0x4,
  s_r_blocks_count_lo: 0x8,
  s_free_blocks_count_lo: 0xc,
  s_free_inodes_count: 0x10,
  s_first_data_block: 0x14,
  s_log_block_size: 0x18,
  s_log_cluster_size: 0x1c,
  s_blocks_per_group: 0x20,
  s_clusters_per_group: 0x24,
  s_inodes_per_group: 0x28,
  s_mtime: 0x2c,
  s_wtime: 0x30,
  s_mnt_count: 0x34,
  s_max_mnt_count: 0x36,
  s_magic: 0x38,
  s_state: 0x3a,
  s_errors: 0x3c,
  s_minor_rev_level: 0x3e,
  s_lastcheck: 0x40,
  s_checkinterval: 0x44,
  s_creator_os: 0x48,
  s_rev_level: 0x4c,
  s_def_resuid: 0x50,
  s_def_resgid: 0x52,
  s_first_ino: 0x54,
  s_inode_size: 0x58,
  s_block_group_nr: 0x5a,
  s_feature_compat: 0x5c,
  s_feature_incompat: 0x60,
  s_feature_ro_compat: 0x64,
  s_uuid: 0x68,
  s_volume_name: 0x78,
  s_last_mounted: 0x88,
  s_algorithm_usage_bitmap: 0xc8,
  s_reserved_gdt_blocks: 0xce,
  s_journal_uuid: 0xd0,
  s_journal_inum: 0xe0,
  s_journal_dev: 0xe4,
  s_last_orphan: 0xe8,
  s_hash_seed: 0xec,
  s_def_hash_version: 0xfc,
  s_jnl_backup_type: 0xfd,
  s_desc_size: 0xfe,
  s_default_mount_opts: 0x100,
  s_first_meta_bg: 0x104,
  s_mkfs_time: 0x108,
  s_jnl_blocks: 0x10c,
  s_blocks_count_hi: 0x150,
  s_r_blocks_count_hi: 0x154,
  s_free_blocks_count_hi: 0x158,
  s_min_extra_isize: 0x15c,
  s_want_extra_isize: 0x15e,
  s_flags: 0x160,
  s_mmp_interval: 0x166,
  s_mmp_block: 0x168,
  s_log_groups_per_flex: 0x174,
  s_checksum_type: 0x175,
  s_kbytes_written: 0x178,
  s_error_count: 0x194,
  s_first_error_time: 0x198,
  s_first_error_ino: 0x19c,
  s_first_error_block: 0x1a0,
  s_first_error_func: 0x1a8,
  s_first_error_line: 0x1c8,
  s_last_error_time: 0x1cc,
  s_last_error_ino: 0x1d0,
  s_last_error_line: 0x1d4,
  s_last_error_block: 0x1d8,
  s_last_error_func: 0x1e0,
  s_mount_opts: 0x200,
  s_overhead_clusters: 0x248,
  s_backup_bgs: 0x24c,
  s_checksum_seed: 0x270,
  s_wtime_hi: 0x274,
  s_mtime_hi: 0x275,
  s_first_error_time_hi: 0x278,
  s_last_error_time_hi: 0x279,
  s_first_error_errcode: 0x27a,
  s_last_error_errcode: 0x27b,
  s_orphan_file_inum: 0x280,
  s_checksum: 0x3fc,
  SIZE: 1024,
  /** Byte offset of the primary copy on the device. */
  PRIMARY_OFFSET: 1024,
});

export const SUPERBLOCK_MAGIC = 0xef53;

/** s_state bits. */
export const SuperblockState = Object.freeze({ CLEAN: 1, ERROR: 2, ORPHANS: 4 });

/** s_default_mount_opts bits: options that hold unless the mount says otherwise. */
export const DefaultMountOption = Object.freeze({ BSDGROUPS: 0x2, UID16: 0x10, NOBARRIER: 0x100, DISCARD: 0x400 });

/** s_flags bits: how directory hashes treat bytes above 0x7f. */
export const SuperblockFlag = Object.freeze({ SIGNED_HASH: 1, UNSIGNED_HASH: 2 });

/**
 * The superblock's fields that anybody needs, decoded. Sizes in bytes where named so, else in blocks or
 * clusters as on disk.
 */
export class Superblock {
  readonly magic: number;
  readonly inodesCount: number;
  readonly blocksCount: number;
  readonly reservedBlocksCount: number;
  readonly freeBlocksCount: number;
  readonly freeInodesCount: number;
  readonly firstDataBlock: number;
  readonly logBlockSize: number;
  readonly logClusterSize: number;
  readonly blocksPerGroup: number;
  readonly clustersPerGroup: number;
  readonly inodesPerGroup: number;
  readonly state: number;
  /** What to do on errors (s_errors). */
  readonly errorBehaviour: number;
  readonly revLevel: number;
  /** Who may use the reserved blocks, besides root. */
  readonly reservedUid: number;
  readonly reservedGid: number;
  readonly firstInode: number;
  readonly inodeSizeBytes: number;
  readonly compat: number;
  readonly incompat: number;
  readonly roCompat: number;
  readonly uuid: Uint8Array;
  readonly volumeName: Uint8Array;
  readonly reservedGdtBlocks: number;
  readonly journalInode: number;
  readonly lastOrphan: number;
  /** Four words, as the hash functions take them. */
  readonly hashSeed: Uint32Array;
  readonly defaultHashVersion: number;
  readonly journalBackupType: number;
  /** Copy of the journal inode's i_block and size (17 words). */
  readonly journalBackup: Uint32Array;
  readonly descriptorSizeField: number;
  readonly defaultMountOptions: number;
  readonly firstMetaBlockGroup: number;
  readonly flags: number;
  readonly logGroupsPerFlex: number;
  readonly checksumType: number;
  readonly overheadClusters: number;
  /** i_extra_isize that inodes must and that new ones should have. */
  readonly minExtraSize: number;
  readonly wantExtraSize: number;
  /** The two groups that hold superblock backups under sparse_super2. */
  readonly backupGroups: readonly [number, number];
  readonly checksumSeedField: number;
  readonly orphanFileInode: number;
  readonly creatorOs: number;
  readonly mmpBlock: number;
  readonly mmpIntervalSec: number;
  readonly checksum: number;

  constructor(view: DataView, at: number) {
    const u32 = (offset: number): number => u32le(view, at + offset);
    const u16 = (offset: number): number => u16le(view, at + offset);
    const bytes = (offset: number, length: number): Uint8Array =>
      new Uint8Array(view.buffer, view.byteOffset + at + offset, length).slice();
    const words = (offset: number, count: number): Uint32Array =>
      Uint32Array.from({ length: count }, (_, index) => u32(offset + 4 * index));
    const o = SUPERBLOCK;
    this.incompat = u32(o.s_feature_incompat);
    const high = (offset: number): number => ((this.incompat & 0x80) === 0 ? 0 : u32(offset) * 2 ** 32);
    this.magic = u16(o.s_magic);
    this.inodesCount = u32(o.s_inodes_count);
    this.blocksCount = high(o.s_blocks_count_hi) + u32(o.s_blocks_count_lo);
    this.reservedBlocksCount = high(o.s_r_blocks_count_hi) + u32(o.s_r_blocks_count_lo);
    this.freeBlocksCount = high(o.s_free_blocks_count_hi) + u32(o.s_free_blocks_count_lo);
    this.freeInodesCount = u32(o.s_free_inodes_count);
    this.firstDataBlock = u32(o.s_first_data_block);
    this.logBlockSize = u32(o.s_log_block_size);
    this.logClusterSize = u32(o.s_log_cluster_size);
    this.blocksPerGroup = u32(o.s_blocks_per_group);
    this.clustersPerGroup = u32(o.s_clusters_per_group);
    this.inodesPerGroup = u32(o.s_inodes_per_group);
    this.state = u16(o.s_state);
    this.errorBehaviour = u16(o.s_errors);
    this.revLevel = u32(o.s_rev_level);
    this.reservedUid = u16(o.s_def_resuid);
    this.reservedGid = u16(o.s_def_resgid);
    this.firstInode = this.revLevel === 0 ? 11 : u32(o.s_first_ino);
    this.inodeSizeBytes = this.revLevel === 0 ? 128 : u16(o.s_inode_size);
    this.compat = u32(o.s_feature_compat);
    this.roCompat = u32(o.s_feature_ro_compat);
    this.uuid = bytes(o.s_uuid, 16);
    this.volumeName = bytes(o.s_volume_name, 16);
    this.reservedGdtBlocks = u16(o.s_reserved_gdt_blocks);
    this.journalInode = u32(o.s_journal_inum);
    this.lastOrphan = u32(o.s_last_orphan);
    this.hashSeed = words(o.s_hash_seed, 4);
    this.defaultHashVersion = u8(view, at + o.s_def_hash_version);
    this.journalBackupType = u8(view, at + o.s_jnl_backup_type);
    this.journalBackup = words(o.s_jnl_blocks, 17);
    this.descriptorSizeField = u16(o.s_desc_size);
    this.defaultMountOptions = u32(o.s_default_mount_opts);
    this.firstMetaBlockGroup = u32(o.s_first_meta_bg);
    this.flags = u32(o.s_flags);
    this.logGroupsPerFlex = u8(view, at + o.s_log_groups_per_flex);
    this.checksumType = u8(view, at + o.s_checksum_type);
    this.overheadClusters = u32(o.s_overhead_clusters);
    this.minExtraSize = u16(o.s_min_extra_isize);
    this.wantExtraSize = u16(o.s_want_extra_isize);
    this.backupGroups = [u32(o.s_backup_bgs), u32(o.s_backup_bgs + 4)];
    this.checksumSeedField = u32(o.s_checksum_seed);
    this.orphanFileInode = u32(o.s_orphan_file_inum);
    this.creatorOs = u32(o.s_creator_os);
    this.mmpBlock = u32(o.s_mmp_block + 4) * 2 ** 32 + u32(o.s_mmp_block);
    this.mmpIntervalSec = u16(o.s_mmp_interval);
    this.checksum = u32(o.s_checksum);
  }

  get blockSizeBytes(): number {
    return 1024 * 2 ** this.logBlockSize;
  }

  /** Blocks per cluster: 1 without bigalloc. */
  get clusterBlocks(): number {
    return 2 ** (this.logClusterSize - this.logBlockSize);
  }

  hasDefaultOption(bit: number): boolean {
    return (this.defaultMountOptions & bit) !== 0;
  }

  hasCompat(bit: number): boolean {
    return (this.compat & bit) !== 0;
  }

  hasIncompat(bit: number): boolean {
    return (this.incompat & bit) !== 0;
  }

  hasRoCompat(bit: number): boolean {
    return (this.roCompat & bit) !== 0;
  }
}
