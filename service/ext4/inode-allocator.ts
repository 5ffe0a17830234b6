import { Errno } from '../../shared/errno.ts';
import type { BufferCache } from './buffer-cache.ts';
import type { MetadataChecksum } from './checksum.ts';
import { CorruptionError, FsError } from './errors.ts';
import type { FreeCounts } from './free-counts.ts';
import type { Geometry } from './geometry.ts';
import type { GroupDescriptors } from './group-descriptors.ts';
import type { Inode } from './inode.ts';
import { InodeBitmaps } from './inode-bitmap.ts';
import { InodePlacement } from './inode-placement.ts';
import type { JournalParticipant } from './journal/handle.ts';
import { Incompat, RoCompat } from './layout/features.ts';
import { FileType, InodeFlag } from './layout/inode.ts';
import type { InodeAllocator, WriteContext } from './write-context.ts';

const SETGID = 0o2000;
/** Groups for which is remembered where their free inodes begin. */
const MAX_HINTS = 65536;

export interface InodeAllocatorOptions {
  /** New inodes get their directory's group, not the caller's (option grpid). */
  readonly groupOfParent: boolean;
  /** Numbers in [0, 1). */
  random(): number;
  /** A group can't be used for new inodes from now on. */
  report(error: CorruptionError): void;
}

/** The parts of an opened file system that inodes are allocated from. */
export interface InodeSources {
  readonly geometry: Geometry;
  readonly cache: BufferCache;
  readonly checksum: MetadataChecksum;
  readonly descriptors: GroupDescriptors;
  readonly counts: FreeCounts;
}

/** Takes and gives back inode numbers, and fills in what a new inode has from its parent, its maker and the format. */
export class GroupInodeAllocator implements InodeAllocator, JournalParticipant {
  readonly #ctx: WriteContext;
  readonly #geometry: Geometry;
  readonly #descriptors: GroupDescriptors;
  readonly #counts: FreeCounts;
  readonly #options: InodeAllocatorOptions;
  readonly #bitmaps: InodeBitmaps;
  readonly #placement: InodePlacement;
  readonly #extents: boolean;
  readonly #projects: boolean;
  /** Groups whose bitmap can't be trusted. */
  readonly #badGroups = new Set<number>();
  /** No inode of the group below this index is free, for groups used lately. */
  readonly #firstFree = new Map<number, number>();
  #changedInHandle = false;

  constructor(ctx: WriteContext, sources: InodeSources, options: InodeAllocatorOptions) {
    const { geometry, cache, checksum, descriptors, counts } = sources;
    this.#ctx = ctx;
    this.#geometry = geometry;
    this.#descriptors = descriptors;
    this.#counts = counts;
    this.#options = options;
    this.#bitmaps = new InodeBitmaps(geometry, cache, checksum, descriptors, ctx.handle);
    this.#placement = new InodePlacement(geometry, descriptors, counts, options.random);
    this.#extents = geometry.superblock.hasIncompat(Incompat.EXTENTS);
    this.#projects = geometry.superblock.hasRoCompat(RoCompat.PROJECT);
    ctx.handle.addParticipant(this.#bitmaps);
    ctx.handle.addParticipant(this);
  }

  allocate(parent: Inode, mode: number): Inode {
    const isDirectory = (mode & FileType.MASK) === FileType.DIRECTORY;
    const { groupCount } = this.#geometry;
    const start = this.#counts.inodes > 0 ? this.#placement.choose(parent, isDirectory) : -1;
    for (let step = 0; start >= 0 && step < groupCount; step++) {
      const group = (start + step) % groupCount;
      const index = this.#freeIndexIn(group);
      if (index < 0) continue;
      const inode = this.#take(group, index, isDirectory);
      this.#fill(inode, parent, mode);
      return inode;
    }
    throw new FsError(Errno.ENOSPC, 'all inodes are in use');
  }

  free(inode: Inode): void {
    const { inodesPerGroup } = this.#geometry;
    const group = Math.floor((inode.ino - 1) / inodesPerGroup);
    const index = inode.ino - 1 - group * inodesPerGroup;
    this.#changedInHandle = true;
    this.#ctx.inodes.modify(inode);
    inode.linksCount = 0;
    inode.dtime = Math.max(1, this.#ctx.now.sec) >>> 0;
    this.#bitmaps.giveBack(group, index);
    const descriptors = this.#descriptors;
    descriptors.setFreeInodes(group, descriptors.freeInodes(group) + 1);
    if (inode.isDirectory) {
      descriptors.setUsedDirectories(group, Math.max(0, descriptors.usedDirectories(group) - 1));
    }
    this.#counts.addInodes(1);
    this.#placement.noteTaken(group, -1, inode.isDirectory);
    const firstFree = this.#firstFree.get(group);
    if (firstFree !== undefined && index < firstFree) this.#firstFree.set(group, index);
  }

  /** Whether the inode bitmap has the inode as used. Throws CorruptionError when the bitmap is bad. */
  isInUse(ino: number): boolean {
    const group = Math.floor((ino - 1) / this.#geometry.inodesPerGroup);
    return this.#bitmaps.isUsed(group, ino - 1 - group * this.#geometry.inodesPerGroup);
  }

  handleEnded(): void {
    this.#changedInHandle = false;
  }

  handleCancelled(): void {
    if (!this.#changedInHandle) return;
    this.#changedInHandle = false;
    this.#firstFree.clear();
    this.#placement.forget();
  }

  /** -1 when the group has no free inode or can't be trusted. */
  #freeIndexIn(group: number): number {
    if (this.#badGroups.has(group)) return -1;
    try {
      if (this.#descriptors.freeInodes(group) === 0) return -1;
      const { inodesPerGroup, superblock } = this.#geometry;
      const reserved = superblock.firstInode - 1 - group * inodesPerGroup;
      const index = this.#bitmaps.firstFree(group, Math.max(0, reserved, this.#firstFree.get(group) ?? 0));
      if (index < 0) {
        throw new CorruptionError('inode bitmap', `group ${group}: all inodes are in use, but some count as free`);
      }
      const ino = group * inodesPerGroup + index + 1;
      if (this.#ctx.orphans.has(ino)) {
        throw new CorruptionError('inode bitmap', `group ${group}: an orphan counts as free`, { inode: ino });
      }
      return index;
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      this.#badGroups.add(group);
      this.#options.report(error);
      return -1;
    }
  }

  #take(group: number, index: number, isDirectory: boolean): Inode {
    const { inodesPerGroup } = this.#geometry;
    const descriptors = this.#descriptors;
    this.#changedInHandle = true;
    if (descriptors.inodesAreUninitialised(group)) descriptors.setUnusedInodes(group, inodesPerGroup);
    this.#bitmaps.take(group, index);
    // Whether the inode's table block was ever used follows from the number of unused inodes: that changes last.
    const inode = this.#ctx.inodes.create(group * inodesPerGroup + index + 1);
    const unused = inodesPerGroup - index - 1;
    if (descriptors.unusedInodes(group) > unused) descriptors.setUnusedInodes(group, unused);
    descriptors.setFreeInodes(group, descriptors.freeInodes(group) - 1);
    if (isDirectory) descriptors.setUsedDirectories(group, descriptors.usedDirectories(group) + 1);
    this.#counts.addInodes(-1);
    this.#placement.noteTaken(group, 1, isDirectory);
    if (this.#firstFree.size >= MAX_HINTS) this.#firstFree.clear();
    this.#firstFree.set(group, index + 1);
    return inode;
  }

  #fill(inode: Inode, parent: Inode, mode: number): void {
    const { now, caller } = this.#ctx;
    const ofParent = this.#options.groupOfParent;
    const inheritsGroup = (parent.mode & SETGID) !== 0;
    inode.mode = mode;
    inode.uid = caller.uid;
    inode.gid = ofParent || inheritsGroup ? parent.gid : caller.gid;
    if (!ofParent && inheritsGroup && inode.isDirectory) inode.mode |= SETGID;
    inode.flags = inheritedFlags(parent, inode);
    const hasData = inode.isDirectory || inode.isRegular || inode.isSymlink;
    if (this.#extents && hasData) inode.flags |= InodeFlag.EXTENTS;
    if (this.#projects && parent.hasFlag(InodeFlag.PROJINHERIT)) inode.projectId = parent.projectId;
    inode.generation = Math.floor(this.#options.random() * 2 ** 32);
    inode.atimeSec = now.sec;
    inode.atimeNsec = now.nsec;
    inode.mtimeSec = now.sec;
    inode.mtimeNsec = now.nsec;
    inode.ctimeSec = now.sec;
    inode.ctimeNsec = now.nsec;
    if (!inode.hasCrtime) return;
    inode.crtimeSec = now.sec;
    inode.crtimeNsec = now.nsec;
  }
}

const F = InodeFlag;
/** What children get from their directory, by type, as the kernel has it. */
const FOR_DIRECTORIES =
  F.SECRM |
  F.UNRM |
  F.COMPR |
  F.SYNC |
  F.NODUMP |
  F.NOATIME |
  F.NOCOMPR |
  F.JOURNAL_DATA |
  F.NOTAIL |
  F.DIRSYNC |
  F.DAX |
  F.PROJINHERIT |
  F.CASEFOLD;
const FOR_REGULAR_FILES = FOR_DIRECTORIES & ~(F.DIRSYNC | F.PROJINHERIT | F.CASEFOLD);
const FOR_OTHERS = F.NODUMP | F.NOATIME;

function inheritedFlags(parent: Inode, child: Inode): number {
  if (child.isDirectory) return parent.flags & FOR_DIRECTORIES;
  return parent.flags & (child.isRegular ? FOR_REGULAR_FILES : FOR_OTHERS);
}
