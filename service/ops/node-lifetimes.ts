import type { Inode } from '../ext4/inode.ts';
import { LookupCounts } from './lookup-counts.ts';
import { type NodeReferences, nodeIdOf } from './nodes.ts';

/**
 * Which inodes without a name the kernel still uses. As there are no file handles, an open file is one that the
 * kernel knows, until its FORGET.
 */
export class NodeLifetimes implements NodeReferences {
  readonly #known = new LookupCounts();
  readonly #unlinked = new Set<number>();
  /** Unlinked and forgotten: to be freed. */
  readonly #ended: number[] = [];

  add(nodeId: number): void {
    this.#known.add(nodeId);
  }

  forget(nodeId: number, lookups: number): void {
    if (this.#known.forget(nodeId, lookups) && this.#unlinked.delete(nodeId)) this.#ended.push(nodeId);
  }

  /** The inode has lost a name, or never had one. */
  unnamed(inode: Inode): void {
    if (inode.linksCount > 0) return;
    if (this.#known.count(nodeIdOf(inode.ino)) > 0) this.#unlinked.add(inode.ino);
    else this.#ended.push(inode.ino);
  }

  named(inode: Inode): void {
    this.#unlinked.delete(inode.ino);
  }

  get hasEnded(): boolean {
    return this.#ended.length > 0;
  }

  /** An inode number to be freed, 0 when there is none. */
  takeEnded(): number {
    return this.#ended.pop() ?? 0;
  }

  /** The kernel uses nothing any more. */
  endAll(): void {
    for (const ino of this.#unlinked) this.#ended.push(ino);
    this.#unlinked.clear();
  }
}
