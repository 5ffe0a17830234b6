import { putU32le, u32le } from '../../shared/bytes.ts';
import type { Inode } from './inode.ts';
import { SUPERBLOCK } from './layout/superblock.ts';
import { modifySuperblock } from './superblock-write.ts';
import type { WriteContext } from './write-context.ts';

/** Neighbours of an orphan on the list; 0 for none. */
interface Links {
  /** The orphan before it, nearer to the superblock. */
  previous: number;
  next: number;
}

/**
 * The list of orphans that begins in the superblock (s_last_orphan) and goes on through the inodes: i_dtime holds
 * the number of the next. Known in memory is its front part, with links in both directions: taking an orphan off
 * changes no more than its neighbours. After a mount the rest gets known piece by piece.
 */
export class OrphanList {
  readonly #ctx: WriteContext;
  readonly #links = new Map<number, Links>();
  /** The last orphan known, 0 for none. */
  #last = 0;

  constructor(ctx: WriteContext) {
    this.#ctx = ctx;
  }

  has(ino: number): boolean {
    return this.#links.has(ino);
  }

  /** The orphan that the known part is followed by, 0 at the end of the list. */
  get firstUnknown(): number {
    return this.#last === 0 ? this.#head : this.#linksOf(this.#last).next;
  }

  /** Takes note of `firstUnknown`; `next` is the orphan behind it. */
  know(ino: number, next: number): void {
    this.#links.set(ino, { previous: this.#last, next });
    this.#last = ino;
  }

  /** The reverse, for the last one known. */
  forgetLast(): void {
    const ino = this.#last;
    this.#last = this.#linksOf(ino).previous;
    this.#links.delete(ino);
  }

  /** Within an open handle: the list ends with its known part; what follows makes no sense. */
  cut(): void {
    if (this.#last === 0) this.#setHead(0);
    else this.#setNext(this.#last, 0);
  }

  /** Within an open handle. */
  add(inode: Inode): void {
    const head = this.#head;
    this.#ctx.inodes.modify(inode);
    inode.dtime = head;
    this.#setHead(inode.ino);
    this.#insert(inode.ino, 0, head);
  }

  /** Within an open handle. Returns the orphan before it, for `undoRemove`. */
  remove(inode: Inode): number {
    const { previous, next } = this.#linksOf(inode.ino);
    this.#ctx.inodes.modify(inode);
    inode.dtime = 0;
    if (previous === 0) this.#setHead(next);
    else this.#setNext(previous, next);
    this.#takeOut(inode.ino);
    return previous;
  }

  /** The handle that added the inode was cancelled. */
  undoAdd(ino: number): void {
    this.#takeOut(ino);
  }

  /** The handle that removed the inode was cancelled. */
  undoRemove(ino: number, previous: number, next: number): void {
    this.#insert(ino, previous, next);
  }

  nextOf(ino: number): number {
    return this.#linksOf(ino).next;
  }

  get #head(): number {
    return u32le(this.#ctx.superblockBlock().view, this.#ctx.superblockAt + SUPERBLOCK.s_last_orphan);
  }

  #setHead(ino: number): void {
    putU32le(modifySuperblock(this.#ctx).view, this.#ctx.superblockAt + SUPERBLOCK.s_last_orphan, ino);
  }

  #setNext(ino: number, next: number): void {
    const inode = this.#ctx.inode(ino);
    this.#ctx.inodes.modify(inode);
    inode.dtime = next;
    this.#linksOf(ino).next = next;
  }

  #linksOf(ino: number): Links {
    const links = this.#links.get(ino);
    if (links === undefined) throw new Error(`inode ${ino} is not on the orphan list`);
    return links;
  }

  #insert(ino: number, previous: number, next: number): void {
    this.#links.set(ino, { previous, next });
    const before = this.#links.get(previous);
    if (before !== undefined) before.next = ino;
    const behind = this.#links.get(next);
    if (behind !== undefined) behind.previous = ino;
    if (this.#last === previous) this.#last = ino;
  }

  #takeOut(ino: number): void {
    const { previous, next } = this.#linksOf(ino);
    this.#links.delete(ino);
    const before = this.#links.get(previous);
    if (before !== undefined) before.next = next;
    const behind = this.#links.get(next);
    if (behind !== undefined) behind.previous = previous;
    if (this.#last === ino) this.#last = previous;
  }
}
