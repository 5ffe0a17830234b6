/** One combination of features and sizes that mke2fs can make and the kernel can mount. */
export interface Variant {
  readonly name: string;
  readonly blockBytes: number;
  /** Arguments of mke2fs, without the block size. */
  readonly mkfs: string;
  readonly sizeMiB?: number;
  /** Size in blocks, for sizes that are no round number. */
  readonly blocks?: number;
  /** debugfs commands for the empty file system. */
  readonly debugfs?: readonly string[];
  /** tune2fs arguments after the population: what the kernel would refuse, or wait for, on a writable mount. */
  readonly tune2fs?: string;
  /** debugfs commands after the population. */
  readonly debugfsAfter?: readonly string[];
  readonly largestDirectory?: number;
  /** Long names in the largest directory make its tree deep. */
  readonly longNames?: boolean;
}

const signedHash = ['set_super_value flags 1'];
const unsignedHash = ['set_super_value flags 2'];

/**
 * Project ids and FS_PROJINHERIT_FL beside FS_EXTENT_FL, written with debugfs: a kernel without quota formats refuses
 * writable mounts with the project feature.
 */
const projects = [
  'set_inode_field sizes/60 projid 70000',
  'set_inode_field sizes/4096 projid 4294967294',
  'set_inode_field directories/fifty projid 70000',
  'set_inode_field directories/fifty flags 0x20080000',
];

export const VARIANTS: readonly Variant[] = [
  { name: 'ext2, 1 KiB blocks', blockBytes: 1024, mkfs: '-t ext2 -I 128' },
  { name: 'ext2, 2 KiB blocks, 256-byte inodes', blockBytes: 2048, mkfs: '-t ext2 -I 256' },
  { name: 'ext2, 4 KiB blocks', blockBytes: 4096, mkfs: '-t ext2 -I 128' },
  { name: 'ext2 without any feature', blockBytes: 1024, mkfs: '-t ext2 -O none -I 128' },
  { name: 'ext2 without filetype and dir_index', blockBytes: 4096, mkfs: '-t ext2 -O ^filetype,^dir_index -I 128' },
  {
    name: 'ext2 without sparse_super and resize_inode',
    blockBytes: 1024,
    mkfs: '-t ext2 -O ^sparse_super,^resize_inode',
  },
  { name: 'ext3, 1 KiB blocks', blockBytes: 1024, mkfs: '-t ext3 -I 128' },
  { name: 'ext3, 4 KiB blocks, 256-byte inodes', blockBytes: 4096, mkfs: '-t ext3 -I 256' },
  { name: 'ext3, 2 KiB blocks, 512-byte inodes', blockBytes: 2048, mkfs: '-t ext3 -I 512', largestDirectory: 5000 },
  { name: 'ext4, 1 KiB blocks', blockBytes: 1024, mkfs: '-t ext4 -I 256', largestDirectory: 5000 },
  { name: 'ext4, 2 KiB blocks', blockBytes: 2048, mkfs: '-t ext4 -I 256', largestDirectory: 5000 },
  { name: 'ext4, 4 KiB blocks, 100,000 entries', blockBytes: 4096, mkfs: '-t ext4 -I 256', largestDirectory: 100_000 },
  { name: 'ext4, 128-byte inodes', blockBytes: 4096, mkfs: '-t ext4 -I 128' },
  { name: 'ext4, 512-byte inodes', blockBytes: 4096, mkfs: '-t ext4 -I 512' },
  { name: 'ext4, 1024-byte inodes', blockBytes: 4096, mkfs: '-t ext4 -I 1024' },
  { name: 'ext4, 1024-byte inodes in 1 KiB blocks', blockBytes: 1024, mkfs: '-t ext4 -I 1024' },
  { name: 'ext4 without 64bit', blockBytes: 4096, mkfs: '-t ext4 -O ^64bit' },
  { name: 'ext4 without flex_bg', blockBytes: 1024, mkfs: '-t ext4 -O ^flex_bg' },
  { name: 'ext4, flex groups of 4', blockBytes: 1024, mkfs: '-t ext4 -G 4' },
  { name: 'ext4, meta_bg', blockBytes: 4096, mkfs: '-t ext4 -O meta_bg,^resize_inode -g 512' },
  {
    name: 'ext4, meta_bg, 1 KiB blocks, 32-bit',
    blockBytes: 1024,
    mkfs: '-t ext4 -O meta_bg,^resize_inode,^64bit -g 1024',
  },
  { name: 'ext4 without resize_inode', blockBytes: 4096, mkfs: '-t ext4 -O ^resize_inode' },
  { name: 'ext4, sparse_super2', blockBytes: 1024, mkfs: '-t ext4 -O sparse_super2,^resize_inode' },
  {
    name: 'ext4, sparse_super2 with one backup',
    blockBytes: 1024,
    mkfs: '-t ext4 -O sparse_super2,^resize_inode -E num_backup_sb=1',
  },
  { name: 'ext4, packed metadata', blockBytes: 1024, mkfs: '-t ext4 -E packed_meta_blocks=1' },
  { name: 'ext4, uninit_bg', blockBytes: 4096, mkfs: '-t ext4 -O ^metadata_csum,uninit_bg' },
  {
    name: 'ext4, uninit_bg, 32-bit, 1 KiB blocks',
    blockBytes: 1024,
    mkfs: '-t ext4 -O ^metadata_csum,^64bit,uninit_bg',
  },
  { name: 'ext4 without checksums', blockBytes: 4096, mkfs: '-t ext4 -O ^metadata_csum,^uninit_bg' },
  {
    name: 'ext4, metadata_csum_seed and a changed UUID',
    blockBytes: 4096,
    mkfs: '-t ext4 -O metadata_csum_seed',
    tune2fs: '-U 0a1b2c3d-0000-4000-8000-00000000ffff',
  },
  { name: 'ext4, bigalloc of 16 KiB', blockBytes: 4096, mkfs: '-t ext4 -O bigalloc -C 16384', sizeMiB: 96 },
  { name: 'ext4, bigalloc of 64 KiB', blockBytes: 4096, mkfs: '-t ext4 -O bigalloc -C 65536', sizeMiB: 512 },
  { name: 'ext4, bigalloc of 8 KiB over 1 KiB blocks', blockBytes: 1024, mkfs: '-t ext4 -O bigalloc -C 8192' },
  { name: 'ext4, inline_data', blockBytes: 4096, mkfs: '-t ext4 -O inline_data -I 256' },
  { name: 'ext4, inline_data in 1024-byte inodes', blockBytes: 4096, mkfs: '-t ext4 -O inline_data -I 1024' },
  {
    name: 'ext4, inline_data, 1 KiB blocks, no checksums',
    blockBytes: 1024,
    mkfs: '-t ext4 -O inline_data,^metadata_csum -I 512',
  },
  { name: 'ext4, ea_inode', blockBytes: 4096, mkfs: '-t ext4 -O ea_inode' },
  {
    name: 'ext4, ea_inode and inline_data, 1 KiB blocks',
    blockBytes: 1024,
    mkfs: '-t ext4 -O ea_inode,inline_data -I 512',
  },
  {
    name: 'ext4, large_dir, three levels',
    blockBytes: 1024,
    mkfs: '-t ext4 -O large_dir',
    sizeMiB: 96,
    largestDirectory: 40_000,
    longNames: true,
  },
  { name: 'ext4 without dir_nlink', blockBytes: 4096, mkfs: '-t ext4 -O ^dir_nlink' },
  { name: 'ext4 without huge_file', blockBytes: 4096, mkfs: '-t ext4 -O ^huge_file' },
  { name: 'ext4 without extra_isize', blockBytes: 4096, mkfs: '-t ext4 -O ^extra_isize,^metadata_csum -I 256' },
  { name: 'ext4 without extents', blockBytes: 4096, mkfs: '-t ext4 -O ^extent,^64bit' },
  {
    name: 'ext4 without extents, 1 KiB blocks, checksums',
    blockBytes: 1024,
    mkfs: '-t ext4 -O ^extent,^64bit,metadata_csum',
  },
  { name: 'ext4 without a journal', blockBytes: 4096, mkfs: '-t ext4 -O ^has_journal' },
  { name: 'ext4, project', blockBytes: 4096, mkfs: '-t ext4', tune2fs: '-O project', debugfsAfter: projects },
  {
    name: 'ext4, quota and project',
    blockBytes: 4096,
    mkfs: '-t ext4',
    tune2fs: '-O quota,project',
    debugfsAfter: projects,
  },
  { name: 'ext4, orphan_file', blockBytes: 4096, mkfs: '-t ext4 -O orphan_file' },
  { name: 'ext4, fast_commit', blockBytes: 4096, mkfs: '-t ext4 -O fast_commit' },
  { name: 'ext4, mmp', blockBytes: 4096, mkfs: '-t ext4', tune2fs: '-O mmp' },
  { name: 'ext4, stable_inodes', blockBytes: 4096, mkfs: '-t ext4 -O stable_inodes' },
  { name: 'ext4 without dir_index', blockBytes: 4096, mkfs: '-t ext4 -O ^dir_index', largestDirectory: 5000 },
  {
    name: 'ext4, half MD4 hash, signed',
    blockBytes: 1024,
    mkfs: '-t ext4',
    debugfs: signedHash,
    largestDirectory: 5000,
  },
  {
    name: 'ext4, half MD4 hash, unsigned',
    blockBytes: 1024,
    mkfs: '-t ext4',
    debugfs: unsignedHash,
    largestDirectory: 5000,
  },
  {
    name: 'ext4, TEA hash, signed',
    blockBytes: 1024,
    mkfs: '-t ext4',
    debugfs: ['set_super_value def_hash_version tea', ...signedHash],
    largestDirectory: 5000,
  },
  {
    name: 'ext4, TEA hash, unsigned',
    blockBytes: 1024,
    mkfs: '-t ext4',
    debugfs: ['set_super_value def_hash_version tea', ...unsignedHash],
    largestDirectory: 5000,
  },
  {
    name: 'ext4, legacy hash, signed',
    blockBytes: 1024,
    mkfs: '-t ext4',
    debugfs: ['set_super_value def_hash_version legacy', ...signedHash],
    largestDirectory: 5000,
  },
  {
    name: 'ext4, legacy hash, unsigned',
    blockBytes: 1024,
    mkfs: '-t ext4',
    debugfs: ['set_super_value def_hash_version legacy', ...unsignedHash],
    largestDirectory: 5000,
  },
  { name: 'ext4, an odd number of blocks', blockBytes: 1024, mkfs: '-t ext4', blocks: 65_537 + 3 },
  {
    name: 'ext4, a last group of a few blocks',
    blockBytes: 1024,
    mkfs: '-t ext4 -O ^resize_inode',
    blocks: 8 * 8192 + 700,
  },
  { name: 'ext4, small groups and many inodes', blockBytes: 2048, mkfs: '-t ext4 -g 1024 -i 2048 -m 10' },
  { name: 'ext4, minimal journal, no reserve', blockBytes: 1024, mkfs: '-t ext4 -J size=1 -m 0 -L a-label' },
  {
    name: 'ext4 with the error flag set',
    blockBytes: 4096,
    mkfs: '-t ext4',
    debugfsAfter: ['set_super_value state 3'],
  },
];
