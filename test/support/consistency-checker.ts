/**
 * A small e2fsck in the test process: reads a whole file system, after recovery in memory where the journal is
 * dirty, and says what contradicts what. It has its own walk over block maps, bitmaps and link counts; names and
 * single structures are read by the engine, whose reading is compared with the kernel's elsewhere.
 */

import type { BlockDevice } from '../../service/ext4/block-device.ts';
import type { Filesystem } from '../../service/ext4/filesystem.ts';
import { Geometry } from '../../service/ext4/geometry.ts';
import { GroupDescriptors } from '../../service/ext4/group-descriptors.ts';
import type { Inode } from '../../service/ext4/inode.ts';
import { Compat, RoCompat } from '../../service/ext4/layout/features.ts';
import {
  GroupFlag,
  groupFlags,
  groupFreeClusters,
  groupFreeInodes,
} from '../../service/ext4/layout/group-descriptor.ts';
import { FileType, INODE, InodeFlag, SpecialInode } from '../../service/ext4/layout/inode.ts';
import { SUPERBLOCK } from '../../service/ext4/layout/superblock.ts';
import { u16le, u32le } from '../../shared/bytes.ts';
import { openDevice } from './ext4-image.ts';

const EXTENT_MAGIC = 0xf30a;
const BACKUP_SUPERBLOCK_GROUP_LIMIT = 2 ** 16;
const XATTR_REFCOUNT_AT = 4;

/** An inode as the checker sees it: raw fields, straight from the table. */
interface RawInode {
  readonly ino: number;
  readonly view: DataView;
  readonly at: number;
  readonly mode: number;
  readonly links: number;
  readonly flags: number;
  readonly size: number;
}

/** All contradictions found, '' lines never; an empty list means that the file system is consistent. */
export function consistencyFindings(device: BlockDevice): string[] {
  let filesystem: Filesystem;
  try {
    filesystem = openDevice(device, { cacheBytes: 64 * 2 ** 20 });
  } catch (error) {
    return [`cannot be opened: ${String(error)}`];
  }
  return findingsOf(filesystem);
}

/** The same for a file system that is open, with nothing in its journal and no changes under way. */
export function findingsOf(filesystem: Filesystem): string[] {
  const checker = new Checker(filesystem);
  try {
    checker.run();
  } catch (error) {
    checker.findings.push(`cannot be read: ${error instanceof Error ? (error.stack ?? '') : String(error)}`);
  }
  return checker.findings;
}

class Checker {
  readonly findings: string[] = [];
  readonly #fs: Filesystem;
  readonly #geometry: Geometry;
  readonly #descriptors: GroupDescriptors;
  /** How often each block is claimed. */
  readonly #claims: Uint8Array;
  readonly #inodes = new Map<number, RawInode>();
  readonly #orphans = new Set<number>();
  /** Names that lead to each inode; "." and ".." are counted apart. */
  readonly #names = new Map<number, number>();
  readonly #subdirectories = new Map<number, number>();
  readonly #attributeBlocks = new Map<number, number>();

  constructor(fs: Filesystem) {
    this.#fs = fs;
    const superblockBlock = Math.floor(SUPERBLOCK.PRIMARY_OFFSET / fs.blockSize);
    this.#geometry = new Geometry(fs.superblock, superblockBlock);
    this.#descriptors = new GroupDescriptors(this.#geometry, fs.cache, fs.checksum);
    this.#claims = new Uint8Array(fs.superblock.blocksCount);
  }

  run(): void {
    this.#claimSystemBlocks();
    this.#collectInodes();
    this.#collectOrphans();
    for (const inode of this.#inodes.values()) this.#claimInode(inode);
    this.#walk(SpecialInode.ROOT, SpecialInode.ROOT);
    this.#checkAttributeBlocks();
    this.#checkLinks();
    this.#checkInodeBitmaps();
    this.#checkBlockBitmaps();
  }

  #find(text: string): void {
    if (this.findings.length < 50) this.findings.push(text);
  }

  #claim(pblk: number, count: number, what: string): void {
    for (let block = pblk; block < pblk + count; block++) {
      if (block < this.#geometry.firstDataBlock || block >= this.#claims.length) {
        this.#find(`${what}: block ${block} is outside the file system`);
        return;
      }
      if (this.#claims[block] !== 0) this.#find(`${what}: block ${block} belongs to somebody else`);
      this.#claims[block] = 1;
    }
  }

  #claimSystemBlocks(): void {
    const geometry = this.#geometry;
    if (geometry.groupCount > BACKUP_SUPERBLOCK_GROUP_LIMIT) throw new Error('too large for this checker');
    for (let group = 0; group < geometry.groupCount; group++) {
      this.#claim(geometry.groupFirstBlock(group), geometry.groupHeadBlocks(group), `head of group ${group}`);
      this.#claim(this.#descriptors.blockBitmap(group), 1, `block bitmap of group ${group}`);
      this.#claim(this.#descriptors.inodeBitmap(group), 1, `inode bitmap of group ${group}`);
      this.#claim(this.#descriptors.inodeTable(group), geometry.inodeTableBlocks, `inode table of group ${group}`);
    }
  }

  #collectInodes(): void {
    const geometry = this.#geometry;
    for (let group = 0; group < geometry.groupCount; group++) {
      if (this.#descriptors.inodesAreUninitialised(group)) continue;
      const bitmap = this.#fs.cache.get(this.#descriptors.inodeBitmap(group)).bytes;
      for (let index = 0; index < geometry.inodesPerGroup; index++) {
        if ((bitmap[index >>> 3] & (1 << (index & 7))) === 0) continue;
        const raw = this.#rawInode(group * geometry.inodesPerGroup + index + 1);
        if (raw.mode !== 0 || raw.links !== 0) this.#inodes.set(raw.ino, raw);
        else if (raw.ino >= this.#fs.superblock.firstInode) this.#find(`inode ${raw.ino} is in use but empty`);
      }
      this.#fs.beginOperation();
    }
  }

  #rawInode(ino: number): RawInode {
    const geometry = this.#geometry;
    const group = Math.floor((ino - 1) / geometry.inodesPerGroup);
    const index = (ino - 1) % geometry.inodesPerGroup;
    const block = this.#descriptors.inodeTable(group) + Math.floor(index / geometry.inodesPerBlock);
    const at = (index % geometry.inodesPerBlock) * this.#fs.superblock.inodeSizeBytes;
    const { view } = this.#fs.cache.get(block);
    const mode = u16le(view, at + INODE.i_mode);
    const high = (mode & FileType.MASK) === FileType.SYMLINK ? 0 : u32le(view, at + INODE.i_size_high);
    return {
      ino,
      view: new DataView(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)),
      at,
      mode,
      links: u16le(view, at + INODE.i_links_count),
      flags: u32le(view, at + INODE.i_flags),
      size: u32le(view, at + INODE.i_size_lo) + high * 2 ** 32,
    };
  }

  /** From the legacy list; those of an orphan file are in its blocks. */
  #collectOrphans(): void {
    for (let ino = this.#fs.superblock.lastOrphan; ino !== 0; ) {
      const raw = this.#inodes.get(ino);
      if (raw === undefined || this.#orphans.has(ino)) {
        this.#find(`orphan list leads to inode ${ino}${raw === undefined ? ', not in use' : ' twice'}`);
        break;
      }
      this.#orphans.add(ino);
      ino = u32le(raw.view, raw.at + INODE.i_dtime);
    }
    if (this.#fs.superblock.hasCompat(Compat.ORPHAN_FILE)) this.#collectFromOrphanFile();
  }

  #collectFromOrphanFile(): void {
    const { view } = this.#fs.cache.get(Math.floor(SUPERBLOCK.PRIMARY_OFFSET / this.#fs.blockSize));
    const ino = u32le(view, (SUPERBLOCK.PRIMARY_OFFSET % this.#fs.blockSize) + SUPERBLOCK.s_orphan_file_inum);
    const file = this.#fs.inode(ino);
    for (let lblk = 0; lblk < file.sizeBytes / this.#fs.blockSize; lblk++) {
      const block = this.#fs.fileBlock(file, lblk);
      if (block === null) continue;
      for (let at = 0; at < this.#fs.blockSize - 8; at += 4) {
        const orphan = u32le(block.view, at);
        if (orphan === 0) continue;
        if (this.#inodes.has(orphan)) this.#orphans.add(orphan);
        else this.#find(`orphan file names inode ${orphan}, not in use`);
      }
    }
  }

  #claimInode(inode: RawInode): void {
    const type = inode.mode & FileType.MASK;
    const before = this.#claimed;
    if (inode.ino === SpecialInode.RESIZE) {
      this.#claimResizeInode(inode);
      return;
    }
    const attributes = u32le(inode.view, inode.at + INODE.i_file_acl_lo);
    if (attributes !== 0) this.#attributeBlocks.set(attributes, (this.#attributeBlocks.get(attributes) ?? 0) + 1);
    const hasMap = type === FileType.REGULAR || type === FileType.DIRECTORY || type === FileType.SYMLINK;
    if (!hasMap || (inode.flags & InodeFlag.INLINE_DATA) !== 0) return;
    if ((inode.flags & InodeFlag.EXTENTS) !== 0) {
      this.#claimExtents(inode, inode.view, inode.at + INODE.i_block, -1);
    } else if (!(type === FileType.SYMLINK && inode.size < INODE.I_BLOCK_SIZE)) {
      this.#claimIndirect(inode);
    }
    const blocks = this.#claimed - before + (attributes === 0 ? 0 : 1);
    this.#checkBlockCount(inode, blocks);
  }

  get #claimed(): number {
    return this.#claimedBlocks;
  }

  #claimedBlocks = 0;

  #take(pblk: number, count: number, what: string): void {
    this.#claim(pblk, count, what);
    this.#claimedBlocks += count;
  }

  /** The blocks that i_blocks speaks of; values in inodes of their own are charged as well, and not checked here. */
  #checkBlockCount(inode: RawInode, blocks: number): void {
    if (this.#fs.superblock.clusterBlocks > 1 || (inode.flags & InodeFlag.HUGE_FILE) !== 0) return;
    const stored = u32le(inode.view, inode.at + INODE.i_blocks_lo);
    const expected = (blocks * this.#fs.blockSize) / 512;
    if (this.#fs.superblock.hasIncompat(0x400) ? stored < expected : stored !== expected) {
      this.#find(`inode ${inode.ino}: i_blocks is ${stored} instead of ${expected}`);
    }
  }

  #claimExtents(inode: RawInode, view: DataView, at: number, parentDepth: number): void {
    const what = `inode ${inode.ino}`;
    const entries = u16le(view, at + 2);
    const depth = u16le(view, at + 6);
    if (u16le(view, at) !== EXTENT_MAGIC || entries > u16le(view, at + 4)) {
      this.#find(`${what}: no extent node`);
      return;
    }
    if (parentDepth >= 0 && depth !== parentDepth - 1) this.#find(`${what}: extent node of depth ${depth}`);
    if (parentDepth >= 0 && entries === 0) this.#find(`${what}: empty extent node`);
    const endOfFile = Math.ceil(inode.size / this.#fs.blockSize);
    let previousEnd = -1;
    for (let index = 0; index < entries; index++) {
      const entry = at + 12 + 12 * index;
      const lblk = u32le(view, entry);
      if (lblk < previousEnd) this.#find(`${what}: extent at ${lblk} behind ${previousEnd}`);
      if (depth > 0) {
        const child = u32le(view, entry + 4) + u16le(view, entry + 8) * 2 ** 32;
        this.#take(child, 1, `${what}, extent node`);
        if (child < this.#claims.length) this.#claimExtents(inode, this.#fs.cache.get(child).view, 0, depth);
        previousEnd = lblk + 1;
        continue;
      }
      const raw = u16le(view, entry + 4);
      const length = raw <= 32768 ? raw : raw - 32768;
      if (raw <= 32768 && lblk + length > endOfFile && (inode.mode & FileType.MASK) === FileType.REGULAR) {
        if (!this.#orphans.has(inode.ino)) this.#find(`${what}: written extent ${lblk}+${length} behind the end`);
      }
      this.#take(u32le(view, entry + 8) + u16le(view, entry + 6) * 2 ** 32, length, `${what}, block ${lblk}`);
      previousEnd = lblk + length;
    }
  }

  #claimIndirect(inode: RawInode): void {
    for (let index = 0; index < 15; index++) {
      const pointer = u32le(inode.view, inode.at + INODE.i_block + 4 * index);
      if (pointer !== 0) this.#claimPointer(inode, pointer, Math.max(0, index - 11));
    }
  }

  #claimPointer(inode: RawInode, pblk: number, level: number): void {
    this.#take(pblk, 1, `inode ${inode.ino}`);
    if (level === 0 || pblk >= this.#claims.length) return;
    const { view } = this.#fs.cache.get(pblk);
    for (let at = 0; at < this.#fs.blockSize; at += 4) {
      const pointer = u32le(view, at);
      if (pointer !== 0) this.#claimPointer(inode, pointer, level - 1);
    }
  }

  /** Its double indirect block leads to blocks that belong to the heads of groups. */
  #claimResizeInode(inode: RawInode): void {
    const root = u32le(inode.view, inode.at + INODE.i_block + 4 * 13);
    if (root !== 0) this.#claim(root, 1, 'resize inode');
  }

  #walk(ino: number, parent: number): void {
    const stack: [number, number][] = [[ino, parent]];
    const visited = new Set<number>();
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const [dirIno, parentIno] = next;
      if (visited.has(dirIno)) {
        this.#find(`directory ${dirIno} has two parents`);
        continue;
      }
      visited.add(dirIno);
      this.#readDirectory(dirIno, parentIno, stack);
      this.#fs.beginOperation();
    }
    for (const inode of this.#inodes.values()) {
      const isDirectory = (inode.mode & FileType.MASK) === FileType.DIRECTORY;
      if (isDirectory && !visited.has(inode.ino) && !this.#orphans.has(inode.ino)) {
        this.#find(`directory ${inode.ino} cannot be reached`);
      }
    }
  }

  #readDirectory(dirIno: number, parentIno: number, stack: [number, number][]): void {
    const dir = this.#fs.inode(dirIno);
    const seen = new Set<string>();
    const entries: [string, number][] = [];
    this.#fs.readDirectory(dir, 0, 0, {
      entry: (ino, _type, bytes, start, end) => {
        entries.push([Buffer.from(bytes.subarray(start, end)).toString('latin1'), ino]);
        return true;
      },
    });
    for (const [name, ino] of entries) {
      if (seen.has(name)) this.#find(`directory ${dirIno} has two entries "${name}"`);
      seen.add(name);
      if (name === '.' && ino !== dirIno) this.#find(`"." of directory ${dirIno} is ${ino}`);
      if (name === '..' && ino !== parentIno)
        this.#find(`".." of directory ${dirIno} is ${ino} instead of ${parentIno}`);
      if (name !== '.' && name !== '..') this.#countName(dirIno, name, ino, stack);
      const bytes = Buffer.from(name, 'latin1');
      if (this.#fs.lookup(dir, bytes, 0, bytes.length) !== ino) this.#find(`lookup of "${name}" in ${dirIno} fails`);
    }
  }

  #countName(dirIno: number, name: string, ino: number, stack: [number, number][]): void {
    const target = this.#inodes.get(ino);
    if (target === undefined) {
      this.#find(`"${name}" in directory ${dirIno} leads to inode ${ino}, not in use`);
      return;
    }
    this.#names.set(ino, (this.#names.get(ino) ?? 0) + 1);
    if ((target.mode & FileType.MASK) !== FileType.DIRECTORY) return;
    this.#subdirectories.set(dirIno, (this.#subdirectories.get(dirIno) ?? 0) + 1);
    stack.push([ino, dirIno]);
  }

  #checkAttributeBlocks(): void {
    for (const [block, references] of this.#attributeBlocks) {
      this.#claim(block, 1, 'attribute block');
      const stored = u32le(this.#fs.cache.get(block).view, XATTR_REFCOUNT_AT);
      if (stored !== references) this.#find(`attribute block ${block}: ${stored} references instead of ${references}`);
    }
    for (const inode of this.#inodes.values()) this.#readAttributes(inode);
  }

  #readAttributes(inode: RawInode): void {
    if (inode.links === 0 || inode.ino < this.#fs.superblock.firstInode) return;
    const node: Inode = this.#fs.inode(inode.ino);
    const names = Buffer.from(this.#fs.listXattrs(node)).toString('latin1').split('\0').slice(0, -1);
    for (const name of names) this.#fs.getXattr(node, Buffer.from(name, 'latin1'));
  }

  #checkLinks(): void {
    for (const inode of this.#inodes.values()) {
      if (inode.ino < this.#fs.superblock.firstInode && inode.ino !== SpecialInode.ROOT) continue;
      if ((inode.flags & InodeFlag.EA_INODE) !== 0 || this.#isOrphanFile(inode)) continue;
      const isDirectory = (inode.mode & FileType.MASK) === FileType.DIRECTORY;
      const names = this.#names.get(inode.ino) ?? 0;
      const expected = isDirectory ? (inode.links === 0 ? 0 : 2 + (this.#subdirectories.get(inode.ino) ?? 0)) : names;
      const uncounted = isDirectory && inode.links === 1;
      if (inode.links !== expected && !uncounted) {
        this.#find(`inode ${inode.ino} has ${inode.links} links instead of ${expected}`);
      }
      if (inode.links === 0 && !this.#orphans.has(inode.ino)) this.#find(`inode ${inode.ino} is a lost orphan`);
      if (names > 0 && inode.links === 0) this.#find(`inode ${inode.ino} has a name but no links`);
    }
  }

  #isOrphanFile(inode: RawInode): boolean {
    const { view } = this.#fs.cache.get(Math.floor(SUPERBLOCK.PRIMARY_OFFSET / this.#fs.blockSize));
    const at = (SUPERBLOCK.PRIMARY_OFFSET % this.#fs.blockSize) + SUPERBLOCK.s_orphan_file_inum;
    return this.#fs.superblock.hasCompat(Compat.ORPHAN_FILE) && u32le(view, at) === inode.ino;
  }

  #checkInodeBitmaps(): void {
    const geometry = this.#geometry;
    let totalFree = 0;
    for (let group = 0; group < geometry.groupCount; group++) {
      const free = this.#freeInodesOf(group);
      totalFree += free;
      const [view, at] = this.#descriptorOf(group);
      const stored = groupFreeInodes(view, at, this.#wide);
      if (stored !== free) this.#find(`group ${group}: ${stored} free inodes instead of ${free}`);
      const directories = this.#directoriesOf(group);
      const usedDirs = u16le(view, at + 0x10) + (this.#wide ? u16le(view, at + 0x30) * 2 ** 16 : 0);
      if (usedDirs !== directories) this.#find(`group ${group}: ${usedDirs} directories instead of ${directories}`);
    }
    const stored = this.#fs.superblock.freeInodesCount;
    if (stored !== totalFree) this.#find(`superblock: ${stored} free inodes instead of ${totalFree}`);
  }

  #freeInodesOf(group: number): number {
    const { inodesPerGroup } = this.#geometry;
    if (this.#descriptors.inodesAreUninitialised(group)) return inodesPerGroup;
    const bitmap = this.#fs.cache.get(this.#descriptors.inodeBitmap(group)).bytes;
    let used = 0;
    for (let index = 0; index < inodesPerGroup; index++) {
      if ((bitmap[index >>> 3] & (1 << (index & 7))) !== 0) used++;
    }
    return inodesPerGroup - used;
  }

  #directoriesOf(group: number): number {
    const { inodesPerGroup } = this.#geometry;
    let count = 0;
    for (let ino = group * inodesPerGroup + 1; ino <= (group + 1) * inodesPerGroup; ino++) {
      const inode = this.#inodes.get(ino);
      if (inode !== undefined && (inode.mode & FileType.MASK) === FileType.DIRECTORY) count++;
    }
    return count;
  }

  get #wide(): boolean {
    return this.#fs.superblock.hasIncompat(0x80);
  }

  #descriptorOf(group: number): [DataView, number] {
    const geometry = this.#geometry;
    const index = Math.floor(group / geometry.descriptorsPerBlock);
    const { view } = this.#fs.cache.get(geometry.descriptorBlock(index));
    return [view, (group % geometry.descriptorsPerBlock) * geometry.descriptorSize];
  }

  #checkBlockBitmaps(): void {
    const geometry = this.#geometry;
    if (this.#fs.superblock.hasRoCompat(RoCompat.BIGALLOC)) return;
    let totalFree = 0;
    for (let group = 0; group < geometry.groupCount; group++) {
      const first = geometry.groupFirstBlock(group);
      const end = geometry.groupEndBlock(group);
      const [view, at] = this.#descriptorOf(group);
      const uninit = (groupFlags(view, at) & GroupFlag.BLOCK_UNINIT) !== 0;
      const bitmap = uninit ? null : this.#fs.cache.get(this.#descriptors.blockBitmap(group)).bytes;
      let free = 0;
      for (let block = first; block < end; block++) {
        const bit = block - first;
        const claimed = this.#claims[block] !== 0;
        if (!claimed) free++;
        if (bitmap === null) continue;
        const used = (bitmap[bit >>> 3] & (1 << (bit & 7))) !== 0;
        if (used !== claimed) this.#find(`block ${block} is ${claimed ? 'used' : 'unused'}, its bitmap says otherwise`);
      }
      totalFree += free;
      const stored = groupFreeClusters(view, at, this.#wide);
      if (stored !== free) this.#find(`group ${group}: ${stored} free blocks instead of ${free}`);
      this.#fs.beginOperation();
    }
    const stored = this.#fs.superblock.freeBlocksCount;
    if (stored !== totalFree) this.#find(`superblock: ${stored} free blocks instead of ${totalFree}`);
  }
}
