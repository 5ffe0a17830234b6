import { spawnSync } from 'node:child_process';
import { afterAll, describe, expect, it } from 'vitest';
import type { CorruptionError, DeviceError } from '../../../service/ext4/errors.ts';
import { atomically } from '../../../service/ext4/journal/atomically.ts';
import { FileType } from '../../../service/ext4/layout/inode.ts';
import { debugfs, dumpe2fs } from '../../support/e2fsprogs.ts';
import { ImageDirectory, patchInode, patchSuperblock } from '../../support/ext4-image.ts';
import { listOnDisk, makeFiles, orphanFileOnDisk } from '../../support/orphan-image.ts';
import { bytesOf, e2fsckComplaints, WritableImage } from '../../support/writable-image.ts';

const MIB = 2 ** 20;
const directory = new ImageDirectory();
afterAll(() => directory.remove());

const kinds: [string, string[]][] = [
  ['on the list', ['-b', '1024']],
  ['on the list, without checksums', ['-b', '1024', '-O', '^metadata_csum']],
  ['on the list, without a journal', ['-b', '4096', '-O', '^has_journal']],
  ['on the list of an ext2', ['-t', 'ext2', '-b', '1024']],
  ['in the orphan file', ['-b', '1024', '-O', 'orphan_file']],
  ['in the orphan file, without checksums', ['-b', '4096', '-O', 'orphan_file,^metadata_csum']],
  ['in the orphan file with 64 KiB blocks', ['-b', '65536', '-O', 'orphan_file']],
];

/** Journals, which orphan files come with, need 2048 blocks. */
const make = (args: readonly string[]): string => directory.make((args.includes('65536') ? 160 : 64) * MIB, args);

function unlink(image: WritableImage, name: string): number {
  const bytes = bytesOf(name);
  return image.begin().unlink(image.root, bytes, 0, bytes.length).ino;
}

/** e2fsck as an administrator runs it; what it says. */
function repair(path: string): string {
  const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/sbin:/usr/sbin` };
  const { status, stdout } = spawnSync('e2fsck', ['-fy', path], { encoding: 'latin1', env });
  if (status === null || status > 1) throw new Error(`e2fsck: exit ${status}: ${stdout}`);
  return stdout;
}

describe('files without names that are still open', () => {
  it.each(kinds)('are orphans that e2fsck deletes: %s', (_kind, args) => {
    const path = make(args);
    const image = new WritableImage(path);
    makeFiles(image, 5);
    const orphans = ['f1', 'f3', 'f4'].map((name) => unlink(image, name));
    for (const ino of orphans) expect(image.fs.inode(ino).linksCount).toBe(0);
    image.close();
    image.save(path);
    expect(dumpe2fs(path).get('Filesystem features')?.includes('orphan_present')).toBe(
      args.join().includes('orphan_f'),
    );
    const said = repair(path);
    for (const ino of orphans) expect(said).toContain(`Clearing orphaned inode ${ino}`);
    expect(e2fsckComplaints(path)).toBe('');
    expect(debugfs(path, 'ls')).toMatch(/f0[\s\S]*f2/);
  });

  it.each(kinds)('are deleted by the next mount: %s', (_kind, args) => {
    const path = make(args);
    const logged: string[] = [];
    const image = new WritableImage(path, { log: (text) => logged.push(text) });
    makeFiles(image, 5);
    const orphans = ['f1', 'f3', 'f4'].map((name) => unlink(image, name));
    image.reopen();
    expect(logged.join()).toContain('3 orphans');
    for (const ino of orphans) expect(() => image.fs.inode(ino)).toThrow('not in use');
    image.close();
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
    expect(dumpe2fs(path).get('Filesystem features')).not.toContain('orphan_present');
    expect(dumpe2fs(path).get('First orphan inode')).toBeUndefined();
  });

  it.each(kinds)('go in any order, and take their blocks along: %s', (_kind, args) => {
    const path = make(args);
    const image = new WritableImage(path);
    const files = makeFiles(image, 20);
    for (const file of files) image.begin().writeSmall(file, 0, new Uint8Array(9000).fill(7));
    const orphans = files.map((_, index) => unlink(image, `f${index}`));
    for (const index of [0, 19, 10, 9, 11, 1, 18]) image.begin().evict(orphans[index]);
    image.fs.commitNow();
    for (const ino of orphans) image.begin().evict(ino);
    image.close();
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
  });

  it('can be had again under a name', () => {
    const path = make([]);
    const image = new WritableImage(path);
    const file = image.begin().makeTemporary(image.root, FileType.REGULAR | 0o600, 0);
    expect(image.fs.orphans.has(file.ino)).toBe(true);
    const name = bytesOf('name');
    image.begin().link(file, image.root, name, 0, name.length);
    expect(image.fs.orphans.has(file.ino)).toBe(false);
    image.close();
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
  });
});

describe('the orphan file', () => {
  it('hands over to the list when it is full, and is used again when it is not', () => {
    const path = make(['-b', '1024', '-O', 'orphan_file', '-E', 'orphan_file_size=4']);
    const image = new WritableImage(path);
    const size = image.fs.inode(image.fs.superblock.orphanFileInode).sizeBytes;
    const capacity = (size / 1024) * ((1024 - 8) / 4);
    const files = makeFiles(image, capacity + 3);
    const fs = image.begin();
    const change = (what: () => void): void => atomically(fs.handle, what);
    for (const file of files) change(() => fs.orphans.add(file));
    change(() => fs.orphans.remove(files[7]));
    change(() => fs.orphans.remove(files[capacity + 1]));
    change(() => fs.orphans.add(files[capacity + 1]));
    image.close();
    expect(listOnDisk(image, files)).toEqual([files[capacity + 2].ino, files[capacity].ino]);
    const inFile = new Set(orphanFileOnDisk(image));
    expect(inFile.size).toBe(capacity);
    expect(inFile.has(files[7].ino)).toBe(false);
    expect(inFile.has(files[capacity + 1].ino)).toBe(true);
    image.save(path);
    expect(repair(path)).toContain('Truncating orphaned inode');
  });

  it('that is damaged is reported and left alone, and orphans are on the list', () => {
    const path = make(['-b', '1024', '-O', 'orphan_file']);
    const probe = new WritableImage(path);
    const file = probe.fs.inode(probe.fs.superblock.orphanFileInode);
    for (let lblk = 0; lblk * 1024 < file.sizeBytes; lblk++) {
      const block = probe.fs.fileBlock(file, lblk);
      if (block === null) throw new Error('a hole');
      probe.bytes[block.blockNr * 1024 + (lblk % 2 === 0 ? 0 : 1016)] ^= 1;
    }
    probe.close();
    probe.save(path);
    const reports: (CorruptionError | DeviceError)[] = [];
    const image = new WritableImage(path, { report: (error) => reports.push(error) });
    expect(reports.length).toBe(file.sizeBytes / 1024);
    expect(reports[0].message).toContain('corrupt orphan file');
    const files = makeFiles(image, 2);
    for (const inode of files) atomically(image.begin().handle, () => image.fs.orphans.add(inode));
    image.close();
    expect(listOnDisk(image, files)).toEqual([files[1].ino, files[0].ino]);
  });

  it('that names what can not be an orphan is reported, and the rest is deleted', () => {
    const path = make(['-b', '1024', '-O', 'orphan_file,^metadata_csum']);
    const first = new WritableImage(path);
    makeFiles(first, 4);
    const good = unlink(first, 'f2');
    first.close();
    const file = first.fs.inode(first.fs.superblock.orphanFileInode);
    const block = first.fs.fileBlock(file, 0);
    if (block === null) throw new Error('a hole');
    const view = new DataView(first.bytes.buffer, first.bytes.byteOffset + block.blockNr * 1024, 1024);
    for (const [index, ino] of [good, 0xffffffff, 2, 9000, good].entries()) view.setUint32(40 * index + 8, ino, true);
    first.save(path);
    const reports: (CorruptionError | DeviceError)[] = [];
    const image = new WritableImage(path, { report: (error) => reports.push(error) });
    expect(reports.map((error) => error.message.replace(/corrupt |inode \d+: /g, ''))).toEqual([
      'orphan, counts as free',
      'orphan, is no inode of a file',
      'orphan, is no inode of a file',
      'orphan, counts as free',
      'orphan, counts as free',
    ]);
    expect(() => image.fs.inode(good)).toThrow('not in use');
    image.close();
    image.save(path);
    // Entries that make no sense stay for e2fsck to see.
    expect(dumpe2fs(path).get('Filesystem features')).toContain('orphan_present');
  });
});

describe('an orphan list that makes no sense', () => {
  const damaged = (change: (image: WritableImage, orphans: readonly number[]) => void): CorruptionError[] => {
    const path = make(['-b', '1024', '-O', '^has_journal']);
    const first = new WritableImage(path);
    const files = makeFiles(first, 6);
    const orphans = files.slice(0, 3).map((file) => {
      atomically(first.begin().handle, () => first.fs.orphans.add(file));
      return file.ino;
    });
    first.close();
    change(first, orphans);
    first.save(path);
    const reports: (CorruptionError | DeviceError)[] = [];
    const image = new WritableImage(path, { report: (error) => reports.push(error) });
    image.close();
    image.save(path);
    expect(dumpe2fs(path).get('First orphan inode')).toBeUndefined();
    return reports.filter((error): error is CorruptionError => error.name === 'CorruptionError');
  };

  const setNext = (image: WritableImage, ino: number, next: number): void =>
    patchInode(image.bytes, ino, (view, at) => view.setUint32(at + 0x14, next, true));

  it('because it bites its tail is cut there', () => {
    const reports = damaged((image, orphans) => setNext(image, orphans[0], orphans[2]));
    // What was truncated and taken off the list before is no orphan when the list comes to it again.
    expect(reports.length).toBeLessThanOrEqual(1);
  });

  it('because it leads outside is cut there', () => {
    const reports = damaged((image, orphans) => setNext(image, orphans[1], 0x7fffffff));
    expect(reports.map((error) => error.finding)).toEqual(['is no inode of a file']);
  });

  it('because it begins outside is dropped', () => {
    const reports = damaged((image) => {
      patchSuperblock(image.bytes, (view) => view.setUint32(0xe8, 7, true));
    });
    expect(reports.map((error) => error.finding)).toEqual(['is no inode of a file']);
  });

  it('because it leads to a free inode is cut there', () => {
    const reports = damaged((image, orphans) => setNext(image, orphans[1], 1000));
    expect(reports.map((error) => error.finding)).toEqual(['counts as free']);
  });

  it('because an orphan is damaged is cut there', () => {
    const reports = damaged((image, orphans) => {
      const { tableBlock, tableOffset } = image.fs.inode(orphans[1]);
      image.bytes[tableBlock * 1024 + tableOffset + 0x14] ^= 0xff;
    });
    expect(reports.map((error) => error.structure)).toEqual(['inode']);
  });
});
