import { CorruptionError, FsError } from './errors.ts';
import type { Inode } from './inode.ts';
import { atomically } from './journal/atomically.ts';
import type { JournalParticipant } from './journal/handle.ts';
import { Compat } from './layout/features.ts';
import { OrphanFile } from './orphan-file.ts';
import { OrphanList } from './orphan-list.ts';
import type { Orphans, WriteContext } from './write-context.ts';

export interface OrphanOptions {
  /** Whether the inode bitmap has the inode as used. */
  isInUse(ino: number): boolean;
  /** Something on the list or in the file makes no sense, and is left out. */
  report(error: CorruptionError): void;
}

const Change = Object.freeze({ FILE_ADD: 0, FILE_REMOVE: 1, LIST_ADD: 2, LIST_REMOVE: 3 });

/** What the open handle did: `where` is an entry of the file, or the orphan before it on the list. */
interface OrphanChange {
  readonly kind: number;
  readonly ino: number;
  readonly where: number;
  readonly next: number;
}

/**
 * The orphans of the file system: in the orphan file, where there is one and it has room, else on the list. Where
 * each is, is known in memory; a cancelled handle takes that back.
 */
export class OrphanRegistry implements Orphans, JournalParticipant {
  readonly #ctx: WriteContext;
  readonly #options: OrphanOptions;
  readonly #list: OrphanList;
  /** Null before it is first needed, and where there is none. */
  #file: OrphanFile | null = null;
  #fileIsOpened = false;
  #fileIsLost = false;
  readonly #changes: OrphanChange[] = [];
  /** Entry of the orphan file from which on leftovers are still unknown. */
  #nextEntry = 0;

  constructor(ctx: WriteContext, options: OrphanOptions) {
    this.#ctx = ctx;
    this.#options = options;
    this.#list = new OrphanList(ctx);
    ctx.handle.addParticipant(this);
  }

  has(ino: number): boolean {
    return this.#list.has(ino) || this.#file?.has(ino) === true;
  }

  add(inode: Inode): void {
    const { ino } = inode;
    if (this.has(ino)) return;
    this.#openFile();
    if (this.#file?.add(ino) === true) {
      this.#changes.push({ kind: Change.FILE_ADD, ino, where: 0, next: 0 });
    } else {
      this.#list.add(inode);
      this.#changes.push({ kind: Change.LIST_ADD, ino, where: 0, next: 0 });
    }
  }

  remove(inode: Inode): void {
    const { ino } = inode;
    if (this.#file?.has(ino) === true) {
      this.#changes.push({ kind: Change.FILE_REMOVE, ino, where: this.#file.remove(ino), next: 0 });
    } else if (this.#list.has(ino)) {
      const next = this.#list.nextOf(ino);
      this.#changes.push({ kind: Change.LIST_REMOVE, ino, where: this.#list.remove(inode), next });
    }
  }

  /** Once leftovers were asked for: true when the orphan file names nobody, and the superblock need not say it does. */
  get fileIsEmpty(): boolean {
    return !this.#fileIsLost && (this.#file === null || this.#file.used === 0);
  }

  /**
   * The next orphan that an earlier mount left behind, null when there are no more: to be deleted when it has no
   * links, else to be truncated to its size, and to be taken off in any case. One that is not taken off stays an
   * orphan until the next mount. To be called between handles.
   */
  takeLeftover(): Inode | null {
    this.#openFile();
    return this.#leftoverOfFile() ?? this.#leftoverOfList();
  }

  handleEnded(): void {
    this.#changes.length = 0;
  }

  handleCancelled(): void {
    for (let index = this.#changes.length - 1; index >= 0; index--) this.#undo(this.#changes[index]);
    this.#changes.length = 0;
  }

  #undo({ kind, ino, where, next }: OrphanChange): void {
    switch (kind) {
      case Change.FILE_ADD:
        this.#file?.undoAdd(ino);
        break;
      case Change.FILE_REMOVE:
        this.#file?.undoRemove(ino, where);
        break;
      case Change.LIST_ADD:
        this.#list.undoAdd(ino);
        break;
      case Change.LIST_REMOVE:
        this.#list.undoRemove(ino, where, next);
        break;
    }
  }

  #openFile(): void {
    const { superblock } = this.#ctx;
    if (this.#fileIsOpened || !superblock.hasCompat(Compat.ORPHAN_FILE)) return;
    this.#fileIsOpened = true;
    try {
      this.#file = new OrphanFile(this.#ctx, this.#ctx.inode(superblock.orphanFileInode), this.#options.report);
    } catch (error) {
      this.#fileIsLost = true;
      this.#options.report(asCorruption(error, 'orphan file', superblock.orphanFileInode));
    }
  }

  #leftoverOfFile(): Inode | null {
    const file = this.#file;
    if (file === null) return null;
    for (;;) {
      const entry = file.firstUsed(this.#nextEntry);
      if (entry < 0) return null;
      this.#nextEntry = entry + 1;
      const ino = file.inodeAt(entry);
      if (this.has(ino)) {
        // Added since the mount, or named twice.
        if (!file.isAt(ino, entry)) this.#options.report(corruptOrphan(ino, 'is in the orphan file twice'));
        continue;
      }
      file.know(ino, entry);
      try {
        return this.#leftover(ino);
      } catch (error) {
        file.forgetAbout(ino);
        this.#options.report(asCorruption(error, 'orphan', ino));
      }
    }
  }

  #leftoverOfList(): Inode | null {
    const list = this.#list;
    const ino = list.firstUnknown;
    if (ino === 0) return null;
    if (this.has(ino)) return this.#cutList(corruptOrphan(ino, 'is on the orphan list twice'));
    list.know(ino, 0);
    try {
      const inode = this.#leftover(ino);
      list.forgetLast();
      list.know(ino, inode.dtime);
      return inode;
    } catch (error) {
      list.forgetLast();
      return this.#cutList(asCorruption(error, 'orphan', ino));
    }
  }

  /** What follows a bad orphan can't be found. */
  #cutList(finding: CorruptionError): null {
    this.#options.report(finding);
    atomically(this.#ctx.handle, () => this.#list.cut());
    return null;
  }

  /** Throws CorruptionError or FsError unless the inode can be an orphan; it must be known as one already. */
  #leftover(ino: number): Inode {
    const { superblock } = this.#ctx;
    if (ino < superblock.firstInode || ino > superblock.inodesCount) throw corruptOrphan(ino, 'is no inode of a file');
    if (!this.#options.isInUse(ino)) throw corruptOrphan(ino, 'counts as free');
    const inode = this.#ctx.inode(ino);
    const hasBlocks = inode.isRegular || inode.isDirectory || inode.isSymlink;
    if (inode.linksCount > 0 && !hasBlocks) throw corruptOrphan(ino, 'has a name and nothing to truncate');
    return inode;
  }
}

const corruptOrphan = (ino: number, finding: string): CorruptionError =>
  new CorruptionError('orphan', finding, { inode: ino });

function asCorruption(error: unknown, structure: string, ino: number): CorruptionError {
  if (error instanceof CorruptionError) return error;
  if (error instanceof FsError) return new CorruptionError(structure, error.message, { inode: ino });
  throw error;
}
