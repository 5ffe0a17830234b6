/**
 * A block of the orphan file, little endian: inode numbers (0: free) in 32 bits each, as many as fit before the tail
 * (kernel docs: ext4, "Orphan file").
 */
export const ORPHAN_BLOCK_TAIL = Object.freeze({ ob_magic: 0, ob_checksum: 4, SIZE: 8 });

export const ORPHAN_BLOCK_MAGIC = 0x0b10ca04;

export const orphansPerBlock = (blockSize: number): number => (blockSize - ORPHAN_BLOCK_TAIL.SIZE) / 4;
