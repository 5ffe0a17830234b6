import { GroupBlockAllocator } from './block-allocator.ts';
import { BlockBitmaps } from './block-bitmap.ts';
import type { WritableBlockDevice } from './block-device.ts';
import { sealBlock } from './block-seal.ts';
import { BlockRole, BufferCache, type CachedBlock } from './buffer-cache.ts';
import { ErrorHandling } from './error-handling.ts';
import { CorruptionError, type DeviceError, IncompatibleError } from './errors.ts';
import { FallocateMode, fallocate } from './fallocate.ts';
import { writeObstacles } from './features.ts';
import { FileMapping } from './file-mapping.ts';
import { writeSmall } from './file-write.ts';
import { Filesystem, superblockOffset, warn } from './filesystem.ts';
import { FreeCounts } from './free-counts.ts';
import type { Inode } from './inode.ts';
import { GroupInodeAllocator } from './inode-allocator.ts';
import { atomically } from './journal/atomically.ts';
import { Handle } from './journal/handle.ts';
import { Journal } from './journal/journal.ts';
import { journalChecksumVersion } from './journal/journal-superblock-image.ts';
import { replayJournal } from './journal/replay.ts';
import { openJournalFile } from './journal-file.ts';
import { Incompat } from './layout/features.ts';
import { DefaultMountOption, SUPERBLOCK, type Superblock } from './layout/superblock.ts';
import { LazyTimes } from './lazy-times.ts';
import { MountMarks } from './mount-marks.ts';
import { touchAccessTime } from './namespace/access-time.ts';
import { createNode, makeDirectory, makeSymlink, makeTemporary } from './namespace/create.ts';
import { evict } from './namespace/evict.ts';
import { setFlags, setGeneration, setProject } from './namespace/inode-flags.ts';
import { link } from './namespace/link.ts';
import { requireChangeable, requireMutable } from './namespace/protection.ts';
import { rename } from './namespace/rename.ts';
import { type AttributeChange, setAttributes } from './namespace/set-attributes.ts';
import { touchChange } from './namespace/times.ts';
import { removeDirectory, unlink } from './namespace/unlink.ts';
import { OrphanRegistry } from './orphans.ts';
import { finishWrite, planWrite, type WritePlan } from './planned-write.ts';
import { SpaceAwaiting } from './space-awaiting.ts';
import { hasInternalJournal, readSuperblock } from './superblock.ts';
import { setLabel } from './superblock-write.ts';
import { finishTruncate } from './truncate.ts';
import type { Caller, Timestamp, WriteContext } from './write-context.ts';
import type { WriteOptions } from './write-options.ts';
import { removeXattr, setXattr } from './xattr-write.ts';

function requireWritable(superblock: Superblock, options: WriteOptions): void {
  const { isMultiMountProtected, noRecovery, superblockKiB } = options;
  const obstacles = writeObstacles(superblock, isMultiMountProtected);
  if (superblockKiB !== 0) obstacles.push('copies of the superblock (sb=) are for reading');
  if (noRecovery && superblock.hasIncompat(Incompat.RECOVER)) {
    obstacles.push('the journal needs recovery, which norecovery forbids');
  }
  if (obstacles.length > 0) throw new IncompatibleError(`can't be mounted for writing: ${obstacles.join('; ')}`);
}

/** Share of the cache that may wait for being brought home before that begins. */
const HELD_SHARE = 2;

/**
 * An ext2, ext3 or ext4 file system opened for reading and writing. Each operation is atomic, or is split into
 * steps that a crash may come between without harm; what is durable when, is the business of `commit`.
 */
export class WritableFilesystem extends Filesystem implements WriteContext {
  readonly device: WritableBlockDevice;
  readonly handle: Handle;
  readonly blocks: GroupBlockAllocator;
  readonly inodeAllocator: GroupInodeAllocator;
  readonly orphans: OrphanRegistry;
  readonly now: Timestamp = { sec: 0, nsec: 0 };
  readonly caller: Caller = { uid: 0, gid: 0 };
  readonly superblockAt: number;
  readonly #superblockNr: number;
  readonly #options: WriteOptions;
  readonly #journal: Journal;
  readonly files: FileMapping;
  readonly lazyTimes: LazyTimes;
  readonly #errors: ErrorHandling;
  readonly #space: SpaceAwaiting;
  readonly #marks: MountMarks;
  #committedTransaction = 0;

  /**
   * Recovers the journal where it must be, marks the file system as being written and frees what an earlier mount
   * left behind. Throws like `Filesystem.open`, and IncompatibleError when it may only be read.
   */
  static openForWriting(device: WritableBlockDevice, options: WriteOptions): WritableFilesystem {
    const superblock = WritableFilesystem.#recovered(device, options);
    const cache = new BufferCache(device, superblock.blockSizeBytes, options.cacheBytes);
    const filesystem = new WritableFilesystem(device, superblock, cache, options);
    warn(superblock, options.log);
    filesystem.requireRoot();
    filesystem.#marks.noteMount(false);
    filesystem.#releaseOrphans();
    return filesystem;
  }

  /** Replays the journal; returns the superblock that the file system has then. */
  static #recovered(device: WritableBlockDevice, options: WriteOptions): Superblock {
    const superblockOffsetBytes = superblockOffset(options.superblockKiB);
    const superblock = readSuperblock(device, superblockOffsetBytes, options.crc32c);
    requireWritable(superblock, options);
    if (!hasInternalJournal(superblock)) return superblock;
    const cache = new BufferCache(device, superblock.blockSizeBytes, options.cacheBytes);
    const journal = Filesystem.journalOf(device, superblock, cache, options);
    if (superblock.hasIncompat(Incompat.RECOVER)) options.log('recovering journal');
    const { crc32c } = options;
    const { journalErrno } = replayJournal({
      device,
      superblock,
      superblockOffsetBytes,
      crc32c,
      journal,
      clearNeedsRecovery: false,
    });
    if (journalErrno !== 0) options.log(`the journal had been aborted with errno ${journalErrno}; run e2fsck`);
    const recovered = readSuperblock(device, superblockOffsetBytes, crc32c);
    requireWritable(recovered, options);
    return recovered;
  }

  private constructor(device: WritableBlockDevice, superblock: Superblock, cache: BufferCache, options: WriteOptions) {
    super(device, superblock, cache, null, options);
    const { geometry, descriptors, validity, checksum } = this;
    const groupOfParent = options.groupOfParent ?? superblock.hasDefaultOption(DefaultMountOption.BSDGROUPS);
    const discards = options.discard ?? superblock.hasDefaultOption(DefaultMountOption.DISCARD);
    const report = (error: CorruptionError | DeviceError): void => {
      options.report(error);
      this.noteError(error);
    };
    this.device = device;
    this.#options = options;
    this.#superblockNr = Math.floor(SUPERBLOCK.PRIMARY_OFFSET / this.blockSize);
    this.superblockAt = SUPERBLOCK.PRIMARY_OFFSET % this.blockSize;
    this.handle = new Handle(cache);
    descriptors.changeThrough(this.handle);
    const counts = new FreeCounts(geometry, descriptors, cache, this.handle, this);
    this.space.follow(counts);
    const bitmaps = new BlockBitmaps(geometry, cache, checksum, descriptors, validity, this.handle);
    this.blocks = new GroupBlockAllocator(
      { geometry, descriptors, bitmaps, validity, counts, handle: this.handle, caller: this.caller },
      {
        reservedUid: options.reservedUid ?? superblock.reservedUid,
        reservedGid: options.reservedGid ?? superblock.reservedGid,
        report,
        onDiscardable: discards ? (pblk, lenBlocks) => this.#discard(pblk, lenBlocks) : null,
      },
    );
    this.inodeAllocator = new GroupInodeAllocator(
      this,
      { geometry, cache, checksum, descriptors, counts },
      { groupOfParent, random: options.random, report },
    );
    this.orphans = new OrphanRegistry(this, { isInUse: (ino) => this.inodeAllocator.isInUse(ino), report });
    this.lazyTimes = new LazyTimes(this, (inode) => this.inodes.modifyKept(inode), report);
    this.inodes.becomeWritable(this, options.lazyTimes ? this.lazyTimes : null);
    this.#journal = this.#openJournal();
    this.journalStatistics = this.#journal;
    this.#space = new SpaceAwaiting(device, () => this.commitNow());
    this.files = new FileMapping(this, this.blocks, this.#space);
    this.#marks = new MountMarks(this, descriptors, options.mountPoint, () => options.readClock(this.now));
    this.#errors = new ErrorHandling(this, this.#journal, {
      behaviour: options.errorBehaviour ?? superblock.errorBehaviour,
      panic: options.panic,
      log: options.log,
    });
    this.handle.addParticipant({
      transactionCommitted: (sequence) => {
        this.#committedTransaction = sequence;
      },
    });
  }

  #openJournal(): Journal {
    const { device, cache, handle, superblock, descriptors } = this;
    const { allocate, onAbort, crc32c } = this.#options;
    const options = {
      device,
      cache,
      handle,
      allocate,
      barrier: this.#options.barrier ?? !superblock.hasDefaultOption(DefaultMountOption.NOBARRIER),
      onAbort,
      seal: (block: CachedBlock) => sealBlock(this, descriptors, block),
      heldBlocksLimit: Math.floor(cache.capacityBlocks / HELD_SHARE),
    };
    if (!hasInternalJournal(superblock)) return Journal.withoutLog(options);
    return Journal.withLog(options, {
      file: openJournalFile(this, SUPERBLOCK.PRIMARY_OFFSET),
      fsBlocksCount: superblock.blocksCount,
      crc32c,
      is64bit: superblock.hasIncompat(Incompat.BIT64),
      checksumVersion: journalChecksumVersion(this.checksum.enabled, this.#options.journalChecksum),
      now: this.now,
    });
  }

  superblockBlock(): CachedBlock {
    const block = this.cache.get(this.#superblockNr);
    block.role = BlockRole.SUPERBLOCK;
    return block;
  }

  get posixAcl(): boolean {
    return this.#options.posixAcl && this.caller.ownsFiles !== true;
  }

  alignedBuffer(bytes: number): Uint8Array {
    return this.#options.allocate(bytes);
  }

  /**
   * `reclaim` is called when an operation has found no space, before it is tried again: it evicts what can be, and
   * returns false when there was nothing.
   */
  reclaimThrough(reclaim: () => boolean): void {
    this.#space.reclaim = reclaim;
  }

  get isReadOnly(): boolean {
    return this.#journal.isAborted;
  }

  /** Before each request: whose it is, and when. */
  beginRequest(uid: number, gid: number): void {
    this.caller.uid = uid;
    this.caller.gid = gid;
    this.#options.readClock(this.now);
    this.beginOperation();
    this.#errors.settle();
    this.lazyTimes.writeDue();
  }

  /** A request failed, or something less: what that means for the mount is decided before the next request. */
  noteError(error: unknown): void {
    this.#errors.note(error);
  }

  createNode(
    dir: Inode,
    name: Uint8Array,
    start: number,
    end: number,
    mode: number,
    umask: number,
    rdevMajor: number,
    rdevMinor: number,
  ): Inode {
    const node = { mode, umask, rdevMajor, rdevMinor };
    return this.#space.retry(() => createNode(this, dir, { bytes: name, start, end }, node));
  }

  makeDirectory(dir: Inode, name: Uint8Array, start: number, end: number, mode: number, umask: number): Inode {
    return this.#space.retry(() => makeDirectory(this, dir, { bytes: name, start, end }, mode, umask));
  }

  makeSymlink(dir: Inode, name: Uint8Array, start: number, end: number, target: Uint8Array): Inode {
    return this.#space.retry(() => makeSymlink(this, dir, { bytes: name, start, end }, target));
  }

  /** A file without a name (O_TMPFILE): an orphan until it is linked. */
  makeTemporary(dir: Inode, mode: number, umask: number): Inode {
    return this.#space.retry(() => makeTemporary(this, dir, mode, umask));
  }

  link(inode: Inode, dir: Inode, name: Uint8Array, start: number, end: number): void {
    this.#space.retry(() => link(this, inode, dir, { bytes: name, start, end }));
  }

  /** Returns the inode that lost its name; without names left it is an orphan, to be evicted when nobody uses it. */
  unlink(dir: Inode, name: Uint8Array, start: number, end: number): Inode {
    return this.#space.retry(() => unlink(this, dir, { bytes: name, start, end }));
  }

  removeDirectory(dir: Inode, name: Uint8Array, start: number, end: number): Inode {
    return this.#space.retry(() => removeDirectory(this, dir, { bytes: name, start, end }));
  }

  /** `flags` as in renameat2(2). Returns the inode that lost the new name, null when there was none. */
  rename(
    fromDir: Inode,
    fromName: Uint8Array,
    fromStart: number,
    fromEnd: number,
    toDir: Inode,
    toName: Uint8Array,
    toStart: number,
    toEnd: number,
    flags: number,
  ): Inode | null {
    const from = { dir: fromDir, name: { bytes: fromName, start: fromStart, end: fromEnd } };
    const to = { dir: toDir, name: { bytes: toName, start: toStart, end: toEnd } };
    return this.#space.retry(() => rename(this, from, to, flags));
  }

  /** Nobody uses the inode any more: when it has no names either, it goes. */
  evict(ino: number): void {
    this.blocks.discardReservation(ino);
    this.files.forget(ino);
    if (this.orphans.has(ino)) this.#space.retry(() => evict(this, this.inode(ino)));
    else if (!this.isReadOnly) this.lazyTimes.write(ino);
  }

  setAttributes(inode: Inode, change: AttributeChange): void {
    this.#space.retry(() => setAttributes(this, inode, change));
  }

  setXattr(inode: Inode, name: Uint8Array, value: Uint8Array, flags: number): void {
    requireChangeable(inode);
    this.#space.retry(() =>
      atomically(this.handle, () => {
        touchChange(this, inode);
        setXattr(this, inode, name, value, flags);
      }),
    );
  }

  removeXattr(inode: Inode, name: Uint8Array): void {
    requireChangeable(inode);
    this.#space.retry(() =>
      atomically(this.handle, () => {
        if (removeXattr(this, inode, name)) touchChange(this, inode);
      }),
    );
  }

  setFlags(inode: Inode, flags: number): void {
    this.#space.retry(() => setFlags(this, inode, flags));
  }

  setProject(inode: Inode, projectId: number): void {
    this.#space.retry(() => setProject(this, inode, projectId));
  }

  setGeneration(inode: Inode, generation: number): void {
    this.#space.retry(() => setGeneration(this, inode, generation));
  }

  /** The volume's label, at most 16 bytes. */
  setLabel(label: Uint8Array): void {
    atomically(this.handle, () => setLabel(this, label));
  }

  /** Returns how many bytes were written: fewer than given when space ran out on the way. */
  writeSmall(inode: Inode, offset: number, bytes: Uint8Array): number {
    return this.#space.retry(() => writeSmall(this, inode, offset, bytes));
  }

  planWrite(inode: Inode, offset: number, length: number, plan: WritePlan): void {
    this.#space.retry(() => planWrite(this, inode, offset, length, plan));
  }

  finishWrite(inode: Inode, offset: number, length: number): void {
    this.#space.retry(() => finishWrite(this, inode, offset, length));
  }

  /** `mode` as in fallocate(2). */
  fallocate(inode: Inode, mode: number, offset: number, length: number): void {
    const onlyAdds = (mode & ~FallocateMode.KEEP_SIZE) === 0;
    (onlyAdds ? requireMutable : requireChangeable)(inode);
    this.#space.retry(() => fallocate(this, inode, mode, offset, length));
  }

  /** The inode's content was read. */
  touchAccessTime(inode: Inode): void {
    if (!this.isReadOnly) touchAccessTime(this, inode, this.#options.accessTimes);
  }

  /**
   * Makes all that was done until now durable; then calls `done` with 0 or a positive errno, perhaps before it
   * returns.
   */
  commit(done: (errno: number) => void): void {
    this.#journal.commit(done);
  }

  /** The same, blocking. Returns 0 or a positive errno. */
  commitNow(): number {
    return this.#journal.commitNow();
  }

  /** Whether the inode was changed since the last commit; `dataOnly`: changes of times alone don't count. */
  needsCommit(inode: Inode, dataOnly: boolean): boolean {
    return (dataOnly ? inode.dataChangedIn : inode.changedIn) > this.#committedTransaction;
  }

  get hasChanges(): boolean {
    return this.#journal.hasChanges;
  }

  /** For idle times: brings some committed blocks to their places. */
  checkpointSome(): void {
    this.#journal.checkpointSome();
  }

  /** Brings everything to its place and leaves a clean image, for changes to go on after `thaw`. 0 or an errno. */
  freeze(): number {
    return this.#leaveClean(() => this.#journal.flush());
  }

  thaw(): void {
    if (!this.isReadOnly) this.#marks.noteMount(true);
  }

  /** Stops all changes at once; what isn't committed is lost. */
  abort(errno: number, during: string): void {
    this.#journal.abort(errno, during);
  }

  /** Ends writing: brings everything to its place and marks the file system clean. Returns 0 or a positive errno. */
  close(): number {
    return this.#leaveClean(() => this.#journal.close());
  }

  #leaveClean(emptyJournal: () => number): number {
    this.lazyTimes.writeAll();
    const errno = emptyJournal();
    return errno === 0 ? this.#marks.noteUnmount(Math.floor(this.#options.writtenBytes() / 1024)) : errno;
  }

  #discard(pblk: number, lenBlocks: number): boolean {
    const { blockSize } = this;
    this.#space.discard(pblk * blockSize, lenBlocks * blockSize, () => this.blocks.discarded(pblk, lenBlocks));
    return true;
  }

  /** A damaged orphan stays one, until e2fsck looks at it. */
  #released(inode: Inode): boolean {
    try {
      if (inode.linksCount === 0) evict(this, inode);
      else finishTruncate(this, inode);
      return true;
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      this.#options.report(error);
      this.noteError(error);
      return false;
    }
  }

  #releaseOrphans(): void {
    let released = 0;
    for (let inode = this.orphans.takeLeftover(); inode !== null; inode = this.orphans.takeLeftover()) {
      if (this.#released(inode)) released++;
      this.beginOperation();
    }
    if (released > 0) this.#options.log(`${released} orphan${released > 1 ? 's' : ''} deleted or truncated`);
  }
}
