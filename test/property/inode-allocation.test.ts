import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { Inode } from '../../service/ext4/inode.ts';
import { atomically } from '../../service/ext4/journal/atomically.ts';
import { FileType } from '../../service/ext4/layout/inode.ts';
import { Errno } from '../../shared/errno.ts';
import { dumpe2fs } from '../support/e2fsprogs.ts';
import { ImageDirectory } from '../support/ext4-image.ts';
import { listOnDisk, makeFiles, orphanFileOnDisk } from '../support/orphan-image.ts';
import { bytesOf, e2fsckComplaints, WritableImage } from '../support/writable-image.ts';

const MIB = 2 ** 20;
const RUNS = 12;
const directory = new ImageDirectory();
afterAll(() => directory.remove());

/** How a handle goes, and whether the transaction is committed after it. */
interface Ending {
  readonly cancelled: boolean;
  readonly committed: boolean;
}

const ending: fc.Arbitrary<Ending> = fc.record({ cancelled: fc.boolean(), committed: fc.boolean() });

/** Runs `change` in a handle, which is cancelled at its end if asked for. Returns whether its changes stay. */
function inHandle(image: WritableImage, { cancelled, committed }: Ending, change: () => void): boolean {
  const fs = image.begin();
  class Cancelled extends Error {}
  try {
    atomically(fs.handle, () => {
      change();
      if (cancelled) throw new Cancelled();
    });
  } catch (error) {
    if (!(error instanceof Cancelled)) throw error;
  }
  if (committed) fs.commitNow();
  return !cancelled;
}

describe('orphans', () => {
  const FILES = 12;
  const steps = fc.array(
    fc.record({
      changes: fc.array(fc.record({ file: fc.nat(FILES - 1), add: fc.boolean() }), { maxLength: 5 }),
      ending,
    }),
    { maxLength: 25 },
  );

  it.each([
    ['on the list', ['-b', '1024', '-O', '^has_journal']],
    ['on the list, with a journal', ['-b', '1024']],
    ['in the orphan file', ['-b', '1024', '-O', 'orphan_file', '-E', 'orphan_file_size=2']],
  ])('are on disk what they are in memory, and gone after the next mount: %s', (kind, args) => {
    const template = directory.make(8 * MIB, args);
    const prepared = new WritableImage(template);
    makeFiles(prepared, FILES);
    prepared.close();
    prepared.save(template);
    const property = fc.property(steps, (all) => {
      const image = new WritableImage(template);
      const files = Array.from({ length: FILES }, (_, index) => fileOf(image, `f${index}`));
      let model: number[] = [];
      for (const { changes, ending: end } of all) {
        let after = [...model];
        const kept = inHandle(image, end, () => {
          for (const { file, add } of changes) {
            const inode = files[file];
            if (add) {
              image.fs.orphans.add(inode);
              if (!after.includes(inode.ino)) after = [inode.ino, ...after];
            } else {
              image.fs.orphans.remove(inode);
              after = after.filter((ino) => ino !== inode.ino);
            }
          }
        });
        if (kept) model = after;
        for (const { ino } of files) expect(image.fs.orphans.has(ino)).toBe(model.includes(ino));
      }
      image.close();
      if (kind === 'in the orphan file') {
        expect(orphanFileOnDisk(image).sort()).toEqual([...model].sort());
        expect(listOnDisk(image, files)).toEqual([]);
      } else {
        expect(listOnDisk(image, files)).toEqual(model);
      }
      image.reopen();
      image.close();
      expect(listOnDisk(image, files)).toEqual([]);
      const path = directory.file('orphans');
      image.save(path);
      expect(e2fsckComplaints(path)).toBe('');
    });
    fc.assert(property, { numRuns: RUNS });
  });
});

function fileOf(image: WritableImage, name: string): Inode {
  const bytes = bytesOf(name);
  return image.fs.inode(image.fs.lookup(image.root, bytes, 0, bytes.length));
}

describe('inodes', () => {
  const steps = fc.array(
    fc.record({
      changes: fc.array(fc.record({ victim: fc.nat(1000), make: fc.boolean() }), { minLength: 1, maxLength: 12 }),
      ending,
    }),
    { maxLength: 40 },
  );

  it.each([
    ['uninitialised tables', ['-b', '1024', '-g', '1024', '-N', '128', '-O', '^resize_inode,^has_journal']],
    ['crc16', ['-b', '1024', '-g', '1024', '-N', '128', '-O', '^resize_inode,^metadata_csum,uninit_bg']],
    ['no checksums', ['-t', 'ext2', '-b', '1024', '-g', '1024', '-N', '128', '-O', '^resize_inode']],
  ])('are given to one owner at a time, and counted: %s', (_kind, args) => {
    const template = directory.make(4 * MIB, args);
    const free = Number(dumpe2fs(template).get('Free inodes'));
    const property = fc.property(steps, (all) => {
      const image = new WritableImage(template);
      let model = new Map<number, number>();
      for (const { changes, ending: end } of all) {
        const after = new Map(model);
        const kept = inHandle(image, end, () => {
          for (const { victim, make } of changes) {
            if (make) makeOne(image, after, free);
            else freeOne(image, after, victim);
          }
        });
        if (kept) model = after;
        for (const [ino, generation] of model) expect(image.fs.inode(ino).generation).toBe(generation);
      }
      // Without names they would be strange: free what is left, and nothing must remain.
      inHandle(image, { cancelled: false, committed: true }, () => {
        for (const ino of model.keys()) image.fs.inodeAllocator.free(image.fs.inode(ino));
      });
      image.close();
      const path = directory.file('inodes');
      image.save(path);
      expect(e2fsckComplaints(path)).toBe('');
      expect(Number(dumpe2fs(path).get('Free inodes'))).toBe(free);
    });
    fc.assert(property, { numRuns: RUNS });
  });

  function makeOne(image: WritableImage, owned: Map<number, number>, free: number): void {
    const isDirectory = owned.size % 3 === 0;
    const mode = isDirectory ? FileType.DIRECTORY : FileType.REGULAR;
    if (owned.size === free) {
      const attempt = (): Inode => image.fs.inodeAllocator.allocate(image.root, mode);
      expect(attempt).toThrow(expect.objectContaining({ errno: Errno.ENOSPC }));
      return;
    }
    const inode = image.fs.inodeAllocator.allocate(image.root, mode);
    expect(owned.has(inode.ino)).toBe(false);
    inode.linksCount = 1;
    owned.set(inode.ino, inode.generation);
  }

  function freeOne(image: WritableImage, owned: Map<number, number>, victim: number): void {
    const numbers = [...owned.keys()];
    if (numbers.length === 0) return;
    const ino = numbers[victim % numbers.length];
    image.fs.inodeAllocator.free(image.fs.inode(ino));
    owned.delete(ino);
  }
});
