/** CRC32C of bytes[start, end) continuing from `crc`, with no inversion before or after. */
export type Crc32c = (crc: number, bytes: Uint8Array, start: number, end: number) => number;

/**
 * The file system's metadata checksum: CRC32C seeded with the UUID or the superblock's own seed
 * (kernel docs: ext4, "Checksums"). `enabled` is false without the metadata_csum feature.
 */
export class MetadataChecksum {
  readonly enabled: boolean;
  readonly seed: number;
  readonly crc32c: Crc32c;
  readonly #scratch = new Uint8Array(4);

  constructor(enabled: boolean, seed: number, crc32c: Crc32c) {
    this.enabled = enabled;
    this.seed = seed;
    this.crc32c = crc32c;
  }

  /** Continues `crc` with a 32-bit little-endian value. */
  u32(crc: number, value: number): number {
    const scratch = this.#scratch;
    scratch[0] = value;
    scratch[1] = value >>> 8;
    scratch[2] = value >>> 16;
    scratch[3] = value >>> 24;
    return this.crc32c(crc, scratch, 0, 4);
  }

  /** Seed of everything that belongs to one inode: its number and generation are mixed in. */
  inodeSeed(ino: number, generation: number): number {
    return this.u32(this.u32(this.seed, ino), generation);
  }
}
