/** Changes of a directory, made beside changes of a simple map, and the comparison of the two. */
import { expect } from 'vitest';
import { lookup } from '../../service/ext4/directory.ts';
import {
  addEntry,
  initDirectory,
  isEmptyDirectory,
  parentOf,
  removeEntry,
  replaceEntry,
} from '../../service/ext4/directory-write.ts';
import type { Inode } from '../../service/ext4/inode.ts';
import { Incompat } from '../../service/ext4/layout/features.ts';
import { hexOf, listDirectory } from './directory-builder.ts';
import type { FakeWriteContext } from './fake-write-context.ts';

const PARENT_INO = 2;
const FIRST_CHILD_INO = 100;
const CHILD_NUMBERS = 90_000;

interface ModelEntry {
  readonly name: Uint8Array;
  readonly ino: number;
  readonly type: number;
}

export class DirectoryModel {
  readonly context: FakeWriteContext;
  readonly dir: Inode;
  readonly entries = new Map<string, ModelEntry>();
  #serial = 0;

  constructor(context: FakeWriteContext, ino = 50) {
    this.context = context;
    this.dir = context.newDirectory(ino);
    context.atomically(() => initDirectory(context, this.dir, PARENT_INO));
  }

  add(name: Uint8Array): void {
    const entry = this.#newEntry(name);
    const { context, dir } = this;
    context.atomically(() => addEntry(context, dir, name, 0, name.length, entry.ino, entry.type));
    this.entries.set(hexOf(name), entry);
  }

  remove(name: Uint8Array): void {
    const { context, dir } = this;
    const ino = context.atomically(() => removeEntry(context, dir, name, 0, name.length));
    expect(ino).toBe(this.entries.get(hexOf(name))?.ino ?? 0);
    this.entries.delete(hexOf(name));
  }

  replace(name: Uint8Array): void {
    const entry = this.#newEntry(name);
    const { context, dir } = this;
    const ino = context.atomically(() => replaceEntry(context, dir, name, 0, name.length, entry.ino, entry.type));
    expect(ino).toBe(this.entries.get(hexOf(name))?.ino ?? 0);
    if (ino !== 0) this.entries.set(hexOf(name), entry);
  }

  /** Adds a name that is absent; replaces or removes one that is there. */
  toggle(name: Uint8Array, mayReplace: boolean): void {
    if (!this.entries.has(hexOf(name))) this.add(name);
    else if (mayReplace) this.replace(name);
    else this.remove(name);
  }

  lookup(name: Uint8Array): number {
    this.context.cache.beginOperation();
    return lookup(this.context, this.dir, name, 0, name.length);
  }

  expectName(name: Uint8Array): void {
    expect(this.lookup(name)).toBe(this.entries.get(hexOf(name))?.ino ?? 0);
  }

  /** All names are found, and listed once, with their inodes and types. */
  expectWhole(rooms: readonly number[] = [2 ** 31]): void {
    const { context, dir, entries } = this;
    for (const { name } of entries.values()) this.expectName(name);
    const listed = listDirectory(context, dir, rooms);
    const dots = listed.filter(({ name }) => name === '2e' || name === '2e2e');
    expect(dots.map(({ ino }) => ino)).toEqual([dir.ino, PARENT_INO]);
    const rest = listed.filter((entry) => !dots.includes(entry)).map(({ name, ino, type }) => [name, ino, type]);
    const wanted = [...entries].map(([name, { ino, type }]) => [name, ino, type]);
    expect(sortedByName(rest)).toEqual(sortedByName(wanted));
    expect(isEmptyDirectory(context, dir)).toBe(entries.size === 0);
    expect(parentOf(context, dir)).toBe(PARENT_INO);
  }

  #newEntry(name: Uint8Array): ModelEntry {
    const serial = this.#serial++;
    const hasTypes = this.context.superblock.hasIncompat(Incompat.FILETYPE);
    return { name, ino: FIRST_CHILD_INO + (serial % CHILD_NUMBERS), type: hasTypes ? 1 + (serial % 7) : 0 };
  }
}

const sortedByName = (list: (string | number)[][]): (string | number)[][] =>
  list.sort(([a], [b]) => (a < b ? -1 : Number(a > b)));
