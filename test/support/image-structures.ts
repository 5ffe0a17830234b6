import { crc32c } from '../../native/crc32c.ts';
import type { BaseImage } from './hostile-bases.ts';

/** Makes the checksums that cover a structure match again after it was changed. */
export type Seal = (view: DataView, bytes: Uint8Array) => void;

/** A place in an image whose fields may be overwritten: byte offsets on the device and widths in bytes. */
export interface Target {
  readonly structure: string;
  readonly fields: readonly (readonly [at: number, width: number])[];
  /** Block that the structure lies in, for values that point at itself. */
  readonly block: number;
  readonly isBigEndian: boolean;
  readonly seal: Seal;
}

const SB = 1024;
const METADATA_CSUM = 0x400;
const GDT_CSUM = 0x10;
const INODE_EXTENTS = 0x80000;
const INODE_INDEX = 0x1000;
const INODE_INLINE = 0x10000000;
const TYPE = Object.freeze({ MASK: 0xf000, DIRECTORY: 0x4000, REGULAR: 0x8000, SYMLINK: 0xa000 });

const noSeal: Seal = () => {};

function crc16(crc: number, bytes: Uint8Array, start: number, end: number): number {
  let sum = crc;
  for (let at = start; at < end; at++) {
    sum ^= bytes[at];
    for (let bit = 0; bit < 8; bit++) sum = (sum & 1) === 0 ? sum >>> 1 : (sum >>> 1) ^ 0xa001;
  }
  return sum;
}

/** The format's offsets of an inode: every field that the engine reads, and some that it doesn't. */
const INODE_FIELDS: readonly (readonly [number, number])[] = [
  [0x0, 2],
  [0x2, 2],
  [0x4, 4],
  [0x4, 4],
  [0x8, 4],
  [0x14, 4],
  [0x18, 2],
  [0x1a, 2],
  [0x1c, 4],
  [0x20, 4],
  [0x20, 4],
  [0x20, 1],
  [0x22, 1],
  [0x23, 1],
  [0x64, 4],
  [0x68, 4],
  [0x68, 4],
  [0x6c, 4],
  [0x6c, 4],
  [0x74, 2],
  [0x76, 2],
  [0x80, 2],
  [0x80, 2],
  [0x84, 4],
  [0x90, 4],
];

const SUPERBLOCK_FIELDS: readonly (readonly [number, number])[] = [
  [0x0, 4],
  [0x4, 4],
  [0x8, 4],
  [0xc, 4],
  [0x10, 4],
  [0x14, 4],
  [0x18, 4],
  [0x1c, 4],
  [0x20, 4],
  [0x24, 4],
  [0x28, 4],
  [0x38, 2],
  [0x3a, 2],
  [0x4c, 4],
  [0x54, 4],
  [0x58, 2],
  [0x5c, 4],
  [0x60, 4],
  [0x60, 1],
  [0x61, 1],
  [0x64, 4],
  [0x65, 1],
  [0x68, 4],
  [0xce, 2],
  [0xe0, 4],
  [0xe4, 4],
  [0xe8, 4],
  [0xec, 4],
  [0xfc, 1],
  [0xfd, 1],
  [0xfe, 2],
  [0x104, 4],
  [0x10c, 4],
  [0x148, 4],
  [0x150, 4],
  [0x154, 4],
  [0x15c, 2],
  [0x160, 4],
  [0x168, 4],
  [0x174, 1],
  [0x175, 1],
  [0x24c, 4],
  [0x270, 4],
];

/** Finds the structures of a sound image by the format's description, with no help of the engine. */
export class ImageStructures {
  readonly targets: Target[] = [];
  /** Blocks that hold metadata: worthwhile values for pointers that shouldn't lead there. */
  readonly metadataBlocks: number[] = [];
  readonly blockSize: number;
  readonly blocksCount: number;
  readonly #base: BaseImage;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #incompat: number;
  readonly #roCompat: number;
  readonly #inodeSize: number;
  readonly #descSize: number;
  readonly #seed: number;
  readonly #inodesPerGroup: number;
  readonly #groups: number;

  constructor(base: BaseImage) {
    this.#base = base;
    this.#bytes = base.bytes;
    this.#view = new DataView(base.bytes.buffer, base.bytes.byteOffset, base.bytes.byteLength);
    const u32 = (offset: number): number => this.#view.getUint32(SB + offset, true);
    this.blockSize = 1024 << u32(0x18);
    this.blocksCount = u32(0x4);
    this.#incompat = u32(0x60);
    this.#roCompat = u32(0x64);
    this.#inodeSize = this.#view.getUint16(SB + 0x58, true);
    this.#descSize = (this.#incompat & 0x80) !== 0 ? this.#view.getUint16(SB + 0xfe, true) : 32;
    this.#seed = crc32c(0xffffffff, this.#bytes, SB + 0x68, SB + 0x78);
    this.#inodesPerGroup = u32(0x28);
    this.#groups = Math.ceil((this.blocksCount - u32(0x14)) / u32(0x20));
    this.#superblock();
    for (let group = 0; group < this.#groups; group++) this.#descriptor(group);
    for (let ino = 1; ino <= u32(0x0); ino++) this.#inode(ino);
    this.#journal();
  }

  get #hasMetadataCsum(): boolean {
    return (this.#roCompat & METADATA_CSUM) !== 0;
  }

  #add(structure: string, fields: readonly (readonly [number, number])[], seal: Seal, isBigEndian = false): void {
    if (fields.length === 0) return;
    const block = Math.floor(fields[0][0] / this.blockSize);
    this.targets.push({ structure, fields, block, isBigEndian, seal });
  }

  #superblock(): void {
    const seal: Seal = (view, bytes) => view.setUint32(SB + 0x3fc, crc32c(0xffffffff, bytes, SB, SB + 0x3fc), true);
    const fields = SUPERBLOCK_FIELDS.map(([at, width]) => [SB + at, width] as const);
    this.#add('superblock', fields, this.#hasMetadataCsum ? seal : noSeal);
  }

  #descriptorAt(group: number): number {
    const perBlock = Math.floor(this.blockSize / this.#descSize);
    const firstDataBlock = this.blockSize === 1024 ? 1 : 0;
    if ((this.#incompat & 0x10) === 0) return (firstDataBlock + 1) * this.blockSize + group * this.#descSize;
    const metaGroup = Math.floor(group / perBlock);
    const firstGroup = metaGroup * perBlock;
    const groupStart = firstDataBlock + firstGroup * this.#view.getUint32(SB + 0x20, true);
    const hasSuper = firstGroup === 0 || firstGroup === 1 || [3, 5, 7].some((base) => isPower(firstGroup, base));
    return (groupStart + (hasSuper ? 1 : 0)) * this.blockSize + (group % perBlock) * this.#descSize;
  }

  #descriptor(group: number): void {
    const at = this.#descriptorAt(group);
    const size = this.#descSize;
    const low = [
      [0x0, 4],
      [0x4, 4],
      [0x8, 4],
      [0x8, 4],
      [0xc, 2],
      [0xe, 2],
      [0x12, 2],
      [0x1c, 2],
    ] as const;
    const high =
      size >= 64
        ? ([
            [0x20, 4],
            [0x24, 4],
            [0x28, 4],
            [0x32, 2],
          ] as const)
        : [];
    const fields = [...low, ...high].map(([offset, width]) => [at + offset, width] as const);
    this.#add('group descriptor', fields, (view, bytes) => this.#sealDescriptor(group, at, view, bytes));
    for (const offset of [0x0, 0x4, 0x8]) this.metadataBlocks.push(this.#view.getUint32(at + offset, true));
  }

  #sealDescriptor(group: number, at: number, view: DataView, bytes: Uint8Array): void {
    const number = Uint8Array.of(group, group >>> 8, group >>> 16, group >>> 24);
    const rest = at + 0x20;
    const end = at + this.#descSize;
    if (this.#hasMetadataCsum) {
      let crc = crc32c(crc32c(this.#seed, number, 0, 4), bytes, at, at + 0x1e);
      crc = crc32c(crc, new Uint8Array(2), 0, 2);
      view.setUint16(at + 0x1e, crc32c(crc, bytes, rest, end) & 0xffff, true);
    } else if ((this.#roCompat & GDT_CSUM) !== 0) {
      let crc = crc16(crc16(0xffff, bytes, SB + 0x68, SB + 0x78), number, 0, 4);
      crc = crc16(crc, bytes, at, at + 0x1e);
      view.setUint16(at + 0x1e, crc16(crc, bytes, rest, end), true);
    }
  }

  #inodeAt(ino: number): number {
    const group = Math.floor((ino - 1) / this.#inodesPerGroup);
    const table = this.#view.getUint32(this.#descriptorAt(group) + 8, true);
    return table * this.blockSize + ((ino - 1) % this.#inodesPerGroup) * this.#inodeSize;
  }

  #inode(ino: number): void {
    const at = this.#inodeAt(ino);
    const view = this.#view;
    const mode = view.getUint16(at, true);
    if (mode === 0 || view.getUint16(at + 0x1a, true) === 0 || ino === 7) return;
    const seal: Seal = (v, b) => this.#sealInode(ino, at, v, b);
    const inFields = INODE_FIELDS.filter(([offset]) => offset < this.#inodeSize);
    this.#add(
      'inode',
      inFields.map(([offset, width]) => [at + offset, width] as const),
      seal,
    );
    const type = mode & TYPE.MASK;
    const flags = view.getUint32(at + 0x20, true);
    if (type === TYPE.SYMLINK)
      this.#add(
        'symlink',
        [
          [at + 0x4, 4],
          [at + 0x1c, 4],
          [at + 0x20, 4],
          [at + 0x28, 4],
          [at + 0x2c, 1],
        ],
        seal,
      );
    if (type === TYPE.REGULAR || type === TYPE.DIRECTORY || (flags & INODE_EXTENTS) !== 0)
      this.#data(ino, at, type, flags, seal);
    this.#inodeAttributes(at, seal);
    this.#attributeBlock(view.getUint32(at + 0x68, true));
  }

  #data(ino: number, at: number, type: number, flags: number, seal: Seal): void {
    let blocks: number[] = [];
    if ((flags & INODE_INLINE) !== 0) {
      const words = Array.from({ length: 15 }, (_, index) => [at + 0x28 + 4 * index, 4] as const);
      const entries = [
        [at + 0x2c, 4],
        [at + 0x30, 2],
        [at + 0x32, 1],
        [at + 0x33, 1],
        [at + 0x4, 4],
      ] as const;
      this.#add('inline data', type === TYPE.DIRECTORY ? entries : [...words, [at + 0x4, 4]], seal);
    } else if ((flags & INODE_EXTENTS) !== 0) {
      blocks = this.#extentNode(ino, at, at + 0x28, 60, seal);
    } else {
      const pointers = Array.from({ length: 15 }, (_, index) => [at + 0x28 + 4 * index, 4] as const);
      this.#add('indirect pointers', pointers, seal);
      blocks = this.#indirect(at);
    }
    if (type === TYPE.DIRECTORY) this.#directory(ino, at, blocks, (flags & INODE_INDEX) !== 0);
  }

  /** A node of the extent tree; returns the first data blocks in order. */
  #extentNode(ino: number, inodeAt: number, at: number, size: number, seal: Seal): number[] {
    const view = this.#view;
    const entries = view.getUint16(at + 2, true);
    const depth = view.getUint16(at + 6, true);
    const headers = [
      [at, 2],
      [at + 2, 2],
      [at + 2, 2],
      [at + 4, 2],
      [at + 6, 2],
      [at + 6, 2],
    ] as const;
    const shown = Math.min(entries, 12);
    const fields: (readonly [number, number])[] = [...headers];
    for (let index = 0; index < shown; index++) {
      const entry = at + 12 + 12 * (index === shown - 1 ? entries - 1 : index);
      fields.push([entry, 4]);
      if (depth === 0) fields.push([entry + 4, 2], [entry + 6, 2], [entry + 8, 4], [entry + 8, 4]);
      else fields.push([entry + 4, 4], [entry + 4, 4], [entry + 8, 2]);
    }
    this.#add(depth === 0 ? 'extent leaf' : 'extent index', fields, seal);
    const blocks: number[] = [];
    for (let index = 0; index < entries && 24 + 12 * index <= size; index++) {
      const entry = at + 12 + 12 * index;
      if (depth === 0) {
        const start = view.getUint32(entry + 8, true);
        const length = view.getUint16(entry + 4, true);
        for (let nr = 0; nr < length && blocks.length < 400; nr++) blocks.push(start + nr);
      } else {
        const child = view.getUint32(entry + 4, true);
        this.metadataBlocks.push(child);
        const childAt = child * this.blockSize;
        blocks.push(
          ...this.#extentNode(ino, inodeAt, childAt, this.blockSize, this.#sealExtentBlock(ino, inodeAt, childAt)),
        );
      }
    }
    return blocks;
  }

  #sealExtentBlock(ino: number, inodeAt: number, at: number): Seal {
    if (!this.#hasMetadataCsum) return noSeal;
    return (view, bytes) => {
      const tail = at + 12 + 12 * view.getUint16(at + 4, true);
      if (tail + 4 > at + this.blockSize) return;
      view.setUint32(tail, crc32c(this.#inodeSeed(ino, inodeAt, view), bytes, at, tail), true);
    };
  }

  #indirect(inodeAt: number): number[] {
    const pointer = (index: number): number => this.#view.getUint32(inodeAt + 0x28 + 4 * index, true);
    const blocks = Array.from({ length: 12 }, (_, index) => pointer(index)).filter((nr) => nr !== 0);
    for (let level = 1; level <= 3; level++) blocks.push(...this.#indirectBlock(pointer(11 + level), level));
    return blocks;
  }

  #indirectBlock(block: number, level: number): number[] {
    if (block === 0 || block >= this.blocksCount) return [];
    this.metadataBlocks.push(block);
    const at = block * this.blockSize;
    const indexes = Array.from({ length: this.blockSize / 4 }, (_, index) => index);
    const used = indexes.filter((index) => this.#view.getUint32(at + 4 * index, true) !== 0);
    const shown = [...used.slice(0, 8), 255];
    this.#add(
      'indirect block',
      shown.map((index) => [at + 4 * index, 4] as const),
      noSeal,
    );
    const children = used.map((index) => this.#view.getUint32(at + 4 * index, true));
    return level === 1 ? children : children.flatMap((child) => this.#indirectBlock(child, level - 1));
  }

  #directory(ino: number, inodeAt: number, blocks: readonly number[], isIndexed: boolean): void {
    blocks.forEach((block, lblk) => {
      const at = block * this.blockSize;
      if (block >= this.blocksCount) return;
      this.metadataBlocks.push(block);
      const isNode = isIndexed && (lblk === 0 || this.#view.getUint16(at + 4, true) === this.blockSize);
      if (isNode) this.#htreeNode(ino, inodeAt, at, lblk === 0);
      else if (lblk < 6) this.#direntBlock(ino, inodeAt, at);
    });
  }

  #direntBlock(ino: number, inodeAt: number, at: number): void {
    const fields: (readonly [number, number])[] = [];
    const end = at + this.blockSize;
    for (let entry = at, count = 0; entry + 8 <= end && count < 10; count++) {
      fields.push([entry, 4], [entry + 4, 2], [entry + 4, 2], [entry + 6, 1], [entry + 7, 1], [entry + 8, 1]);
      entry += Math.max(8, this.#view.getUint16(entry + 4, true));
    }
    const seal: Seal = (view, bytes) =>
      view.setUint32(end - 4, crc32c(this.#inodeSeed(ino, inodeAt, view), bytes, at, end - 12), true);
    this.#add('dirent', fields, this.#hasMetadataCsum ? seal : noSeal);
    if (this.#hasMetadataCsum)
      this.#add(
        'dirent tail',
        [
          [end - 12, 4],
          [end - 8, 2],
          [end - 5, 1],
          [end - 4, 4],
        ],
        noSeal,
      );
  }

  #htreeNode(ino: number, inodeAt: number, at: number, isRoot: boolean): void {
    const countAt = at + (isRoot ? 0x20 : 0x8);
    const entries = this.#view.getUint16(countAt + 2, true);
    const fields: (readonly [number, number])[] = [
      [countAt, 2],
      [countAt + 2, 2],
      [countAt + 2, 2],
      [countAt + 4, 4],
    ];
    if (isRoot)
      fields.push(
        [at, 4],
        [at + 4, 2],
        [at + 0xc, 4],
        [at + 0x10, 2],
        [at + 0x18, 4],
        [at + 0x1c, 1],
        [at + 0x1d, 1],
        [at + 0x1e, 1],
        [at + 0x1e, 1],
      );
    else fields.push([at, 4], [at + 4, 2]);
    for (let index = 1; index < Math.min(entries, 8); index++)
      fields.push([countAt + 8 * index, 4], [countAt + 8 * index + 4, 4], [countAt + 8 * index + 4, 4]);
    const seal: Seal = (view, bytes) => {
      const limit = view.getUint16(countAt, true);
      const count = view.getUint16(countAt + 2, true);
      const tail = countAt + 8 * limit;
      if (tail + 8 > at + this.blockSize || count > limit) return;
      let crc = crc32c(this.#inodeSeed(ino, inodeAt, view), bytes, at, countAt + 8 * count);
      crc = crc32c(crc, bytes, tail, tail + 4);
      view.setUint32(tail + 4, crc32c(crc, new Uint8Array(4), 0, 4), true);
    };
    this.#add(isRoot ? 'htree root' : 'htree node', fields, this.#hasMetadataCsum ? seal : noSeal);
  }

  #inodeAttributes(at: number, seal: Seal): void {
    if (this.#inodeSize <= 128) return;
    const magicAt = at + 128 + this.#view.getUint16(at + 0x80, true);
    if (magicAt + 8 > at + this.#inodeSize || this.#view.getUint32(magicAt, true) !== 0xea020000) return;
    this.#add('in-inode attribute', [[magicAt, 4], ...this.#attributeEntries(magicAt + 4, at + this.#inodeSize)], seal);
  }

  #attributeEntries(start: number, end: number): readonly (readonly [number, number])[] {
    const fields: (readonly [number, number])[] = [];
    for (let entry = start; entry + 16 <= end && this.#view.getUint32(entry, true) !== 0; ) {
      fields.push(
        [entry, 1],
        [entry + 1, 1],
        [entry + 2, 2],
        [entry + 4, 4],
        [entry + 8, 4],
        [entry + 8, 4],
        [entry + 12, 4],
      );
      fields.push([entry + 16, 1]);
      entry += (16 + this.#bytes[entry] + 3) & ~3;
    }
    return fields;
  }

  #attributeBlock(block: number): void {
    if (block === 0 || block >= this.blocksCount) return;
    this.metadataBlocks.push(block);
    const at = block * this.blockSize;
    const header = [
      [at, 4],
      [at + 4, 4],
      [at + 8, 4],
      [at + 12, 4],
    ] as const;
    const seal: Seal = (view, bytes) => {
      const number = new Uint8Array(8);
      new DataView(number.buffer).setUint32(0, block, true);
      let crc = crc32c(crc32c(this.#seed, number, 0, 8), bytes, at, at + 0x10);
      crc = crc32c(crc, new Uint8Array(4), 0, 4);
      view.setUint32(at + 0x10, crc32c(crc, bytes, at + 0x14, at + this.blockSize), true);
    };
    const fields = [...header, ...this.#attributeEntries(at + 32, at + this.blockSize)];
    this.#add('attribute block', fields, this.#hasMetadataCsum ? seal : noSeal);
  }

  #inodeSeed(ino: number, inodeAt: number, view: DataView): number {
    const words = new Uint8Array(8);
    const wordView = new DataView(words.buffer);
    wordView.setUint32(0, ino, true);
    wordView.setUint32(4, view.getUint32(inodeAt + 0x64, true), true);
    return crc32c(this.#seed, words, 0, 8);
  }

  #sealInode(ino: number, at: number, view: DataView, bytes: Uint8Array): void {
    if (!this.#hasMetadataCsum) return;
    const extra = this.#inodeSize > 128 ? view.getUint16(at + 0x80, true) : 0;
    view.setUint16(at + 0x7c, 0, true);
    if (extra >= 4) view.setUint16(at + 0x82, 0, true);
    const crc = crc32c(this.#inodeSeed(ino, at, view), bytes, at, at + this.#inodeSize);
    view.setUint16(at + 0x7c, crc & 0xffff, true);
    if (extra >= 4) view.setUint16(at + 0x82, crc >>> 16, true);
  }

  #journal(): void {
    const blocks = this.#base.journalBlocks;
    if (blocks.length === 0) return;
    const at = blocks[0] * this.blockSize;
    const seed = crc32c(0xffffffff, this.#bytes, at + 0x30, at + 0x40);
    const field32 = [0x0, 0x4, 0xc, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x54];
    const sealSuper = sealBigEndian(at, 0xfc, 1024, 0xffffffff);
    this.#add(
      'journal superblock',
      [...field32.map((offset) => [at + offset, 4] as const), [at + 0x50, 1]],
      sealSuper,
      true,
    );
    for (const block of blocks.slice(1, 20)) {
      const blockAt = block * this.blockSize;
      if (this.#view.getUint32(blockAt) !== 0xc03b3998) continue;
      const type = this.#view.getUint32(blockAt + 4);
      const words = Array.from({ length: 12 }, (_, index) => [blockAt + 4 * index, 4] as const);
      const flags = [
        [blockAt + 18, 2],
        [blockAt + 18, 2],
        [blockAt + 50, 2],
      ] as const;
      const fieldAt = type === 2 ? 16 : this.blockSize - 4;
      const names: Readonly<Record<number, string>> = {
        1: 'journal descriptor',
        2: 'journal commit',
        5: 'journal revoke',
      };
      this.#add(
        names[type] ?? 'journal block',
        type === 1 ? [...words, ...flags] : words,
        sealBigEndian(blockAt, fieldAt, this.blockSize, seed),
        true,
      );
    }
  }
}

function sealBigEndian(at: number, fieldAt: number, length: number, seed: number): Seal {
  return (view, bytes) => {
    view.setUint32(at + fieldAt, 0);
    view.setUint32(at + fieldAt, crc32c(seed, bytes, at, at + length));
  };
}

function isPower(value: number, base: number): boolean {
  let power = base;
  while (power < value) power *= base;
  return power === value;
}
