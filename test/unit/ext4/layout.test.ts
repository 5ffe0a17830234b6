import { describe, expect, it } from 'vitest';
import { EXTENT, EXTENT_HEADER, EXTENT_INDEX } from '../../../service/ext4/layout/extent.ts';
import { GROUP_DESCRIPTOR } from '../../../service/ext4/layout/group-descriptor.ts';
import { INODE } from '../../../service/ext4/layout/inode.ts';
import { SUPERBLOCK } from '../../../service/ext4/layout/superblock.ts';

/** Fields in disk order with their sizes in bytes, as the kernel's documentation lists them. */
const groupDescriptor: readonly (readonly [keyof typeof GROUP_DESCRIPTOR, number])[] = [
  ['bg_block_bitmap_lo', 4],
  ['bg_inode_bitmap_lo', 4],
  ['bg_inode_table_lo', 4],
  ['bg_free_blocks_count_lo', 2],
  ['bg_free_inodes_count_lo', 2],
  ['bg_used_dirs_count_lo', 2],
  ['bg_flags', 2],
  ['bg_exclude_bitmap_lo', 4],
  ['bg_block_bitmap_csum_lo', 2],
  ['bg_inode_bitmap_csum_lo', 2],
  ['bg_itable_unused_lo', 2],
  ['bg_checksum', 2],
  ['bg_block_bitmap_hi', 4],
  ['bg_inode_bitmap_hi', 4],
  ['bg_inode_table_hi', 4],
  ['bg_free_blocks_count_hi', 2],
  ['bg_free_inodes_count_hi', 2],
  ['bg_used_dirs_count_hi', 2],
  ['bg_itable_unused_hi', 2],
  ['bg_exclude_bitmap_hi', 4],
  ['bg_block_bitmap_csum_hi', 2],
  ['bg_inode_bitmap_csum_hi', 2],
];

const inode: readonly (readonly [keyof typeof INODE | '', number])[] = [
  ['i_mode', 2],
  ['i_uid', 2],
  ['i_size_lo', 4],
  ['i_atime', 4],
  ['i_ctime', 4],
  ['i_mtime', 4],
  ['i_dtime', 4],
  ['i_gid', 2],
  ['i_links_count', 2],
  ['i_blocks_lo', 4],
  ['i_flags', 4],
  ['i_version', 4],
  ['i_block', 60],
  ['i_generation', 4],
  ['i_file_acl_lo', 4],
  ['i_size_high', 4],
  ['', 4],
  ['i_blocks_high', 2],
  ['i_file_acl_high', 2],
  ['i_uid_high', 2],
  ['i_gid_high', 2],
  ['i_checksum_lo', 2],
  ['', 2],
  ['i_extra_isize', 2],
  ['i_checksum_hi', 2],
  ['i_ctime_extra', 4],
  ['i_mtime_extra', 4],
  ['i_atime_extra', 4],
  ['i_crtime', 4],
  ['i_crtime_extra', 4],
  ['i_version_hi', 4],
  ['i_projid', 4],
];

describe('the layout tables', () => {
  it('place the fields of a group descriptor one behind the other', () => {
    let at = 0;
    for (const [name, size] of groupDescriptor) {
      expect([name, GROUP_DESCRIPTOR[name]]).toEqual([name, at]);
      at += size;
    }
    expect(GROUP_DESCRIPTOR.bg_block_bitmap_hi).toBe(GROUP_DESCRIPTOR.SIZE_32);
    expect(at + 4).toBe(GROUP_DESCRIPTOR.SIZE_64);
  });

  it('place the fields of an inode one behind the other', () => {
    let at = 0;
    for (const [name, size] of inode) {
      if (name !== '') expect([name, INODE[name]]).toEqual([name, at]);
      at += size;
    }
    expect(at).toBe(160);
    expect(INODE.i_extra_isize).toBe(INODE.BASE_SIZE);
  });

  it('give extent headers and entries twelve bytes', () => {
    expect(EXTENT_HEADER).toEqual({ eh_magic: 0, eh_entries: 2, eh_max: 4, eh_depth: 6, eh_generation: 8, SIZE: 12 });
    expect(EXTENT).toEqual({ ee_block: 0, ee_len: 4, ee_start_hi: 6, ee_start_lo: 8, SIZE: 12 });
    expect(EXTENT_INDEX).toEqual({ ei_block: 0, ei_leaf_lo: 4, ei_leaf_hi: 8, ei_unused: 10, SIZE: 12 });
  });

  it('agree with the documented offsets of the superblock', () => {
    const documented: Partial<typeof SUPERBLOCK> = {
      s_magic: 56,
      s_first_ino: 84,
      s_feature_compat: 92,
      s_feature_incompat: 96,
      s_feature_ro_compat: 100,
      s_uuid: 104,
      s_volume_name: 120,
      s_reserved_gdt_blocks: 206,
      s_journal_inum: 224,
      s_hash_seed: 236,
      s_def_hash_version: 252,
      s_desc_size: 254,
      s_jnl_blocks: 268,
      s_blocks_count_hi: 336,
      s_flags: 352,
      s_mmp_block: 360,
      s_log_groups_per_flex: 372,
      s_checksum_type: 373,
      s_overhead_clusters: 584,
      s_backup_bgs: 588,
      s_checksum_seed: 624,
      s_orphan_file_inum: 640,
      s_checksum: 1020,
    };
    expect(SUPERBLOCK).toMatchObject(documented);
  });
});
