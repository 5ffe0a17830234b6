import { writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { copyErrorRecord, occurrenceOf, recordError } from '../../../service/ext4/error-record.ts';
import { CorruptionError, DeviceError, FsError } from '../../../service/ext4/errors.ts';
import { writeObstacles } from '../../../service/ext4/features.ts';
import { atomically } from '../../../service/ext4/journal/atomically.ts';
import { noteMount, noteUnmount, type SuperblockBytes, setLabel } from '../../../service/ext4/superblock-write.ts';
import { Errno } from '../../../shared/errno.ts';
import { dumpe2fs } from '../../support/e2fsprogs.ts';
import { ImageDirectory, imageBytes, openImage, patchSuperblock, sealSuperblock } from '../../support/ext4-image.ts';
import { bytesOf, e2fsckComplaints, WritableImage } from '../../support/writable-image.ts';

const MIB = 2 ** 20;
const NOW = 1_800_000_000;
const directory = new ImageDirectory();
afterAll(() => directory.remove());

/** The superblock of an image in a file; `save` puts it back, sealed. */
class LoadedSuperblock implements SuperblockBytes {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly at = 1024;
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
    this.bytes = imageBytes(path);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
  }

  save(): void {
    sealSuperblock(this.bytes);
    writeFileSync(this.#path, this.bytes);
  }
}

describe('the superblock', () => {
  it('says that a file system with a journal is mounted, and that it no longer is', () => {
    const path = directory.make(16 * MIB, []);
    const superblock = new LoadedSuperblock(path);
    const mountPoint = bytesOf('/mnt/of a name that is longer than the sixty-four bytes it may have at most');
    noteMount(superblock, { nowSec: NOW, journalled: true, hasOrphanFile: false, mountPoint });
    superblock.save();
    const mounted = dumpe2fs(path);
    expect(mounted.get('Filesystem features')).toContain('needs_recovery');
    expect(mounted.get('Filesystem state')).toBe('clean');
    expect(mounted.get('Mount count')).toBe('1');
    expect(mounted.get('Last mounted on')).toBe(Buffer.from(mountPoint).toString().slice(0, 64));
    expect(mounted.get('Last mount time')).toContain('2027');
    expect(mounted.get('Last write time')).toContain('2027');
    const unmount = { nowSec: NOW + 60, stateAtMount: 1, orphanFileIsEmpty: true, kbytesWritten: 2 ** 32 + 5 };
    noteUnmount(superblock, unmount);
    superblock.save();
    expect(dumpe2fs(path).get('Filesystem features')).not.toContain('needs_recovery');
    expect(dumpe2fs(path).get('Lifetime writes')).toContain('4096 GB');
    expect(e2fsckComplaints(path)).toBe('');
  });

  it('says that a file system without a journal must be checked, unless it was unmounted', () => {
    const path = directory.make(16 * MIB, ['-O', '^has_journal']);
    const superblock = new LoadedSuperblock(path);
    noteMount(superblock, { nowSec: NOW, journalled: false, hasOrphanFile: false, mountPoint: null });
    superblock.save();
    expect(dumpe2fs(path).get('Filesystem state')).toBe('not clean');
    const unmount = { nowSec: NOW, orphanFileIsEmpty: true, kbytesWritten: 0 };
    noteUnmount(superblock, { ...unmount, stateAtMount: 1 });
    superblock.save();
    expect(dumpe2fs(path).get('Filesystem state')).toBe('clean');
    noteUnmount(superblock, { ...unmount, stateAtMount: 0 });
    superblock.save();
    expect(dumpe2fs(path).get('Filesystem state')).toBe('not clean');
  });

  it('keeps times beyond 32 bits', () => {
    const path = directory.make(16 * MIB, []);
    const superblock = new LoadedSuperblock(path);
    noteMount(superblock, { nowSec: 2 ** 33 + 7, journalled: true, hasOrphanFile: false, mountPoint: null });
    expect([superblock.bytes[1024 + 0x275], superblock.view.getUint32(1024 + 0x2c, true)]).toEqual([2, 7]);
  });

  it('of a mounted and unmounted image is as e2fsck likes it, with 1 KiB blocks and with more', () => {
    for (const args of [
      ['-b', '1024'],
      ['-b', '4096', '-O', 'orphan_file'],
      ['-t', 'ext2', '-b', '2048'],
    ]) {
      const path = directory.make(32 * MIB, args);
      const image = new WritableImage(path, { mountPoint: bytesOf('/mnt') });
      image.reopen();
      image.close();
      image.save(path);
      expect(e2fsckComplaints(path)).toBe('');
      expect(dumpe2fs(path).get('Mount count')).toBe('2');
    }
  });

  it('takes a label of up to 16 bytes', () => {
    const path = directory.make(16 * MIB, ['-L', 'a long old label']);
    const image = new WritableImage(path);
    const fs = image.begin();
    atomically(fs.handle, () => setLabel(fs, bytesOf('neu')));
    expect(() => atomically(fs.handle, () => setLabel(fs, bytesOf('seventeen bytes!!')))).toThrow('at most 16');
    image.close();
    image.save(path);
    expect(dumpe2fs(path).get('Filesystem volume name')).toBe('neu');
    expect(e2fsckComplaints(path)).toBe('');
  });
});

describe('the record of errors', () => {
  const first = { nowSec: NOW, errno: Errno.EUCLEAN, inode: 12, block: 2 ** 32 + 9, where: 'extent node' };
  const second = { nowSec: NOW + 9, errno: Errno.EIO, inode: 13, block: 5, where: 'x'.repeat(40) };

  it('keeps the first and the last, counts them and asks for a check', () => {
    const path = directory.make(16 * MIB, []);
    const superblock = new LoadedSuperblock(path);
    recordError(superblock, first);
    recordError(superblock, second);
    superblock.save();
    const shown = dumpe2fs(path);
    expect(shown.get('FS Error count')).toBe('2');
    expect(shown.get('First error function')).toBe('extent node');
    expect(shown.get('First error inode #')).toBe('12');
    expect(shown.get('First error block #')).toBe(String(2 ** 32 + 9));
    expect(shown.get('First error err')).toBe('EFSCORRUPTED');
    expect(shown.get('Last error function')).toBe('x'.repeat(32));
    expect(shown.get('Last error inode #')).toBe('13');
    expect(shown.get('Last error err')).toBe('EIO');
    expect(shown.get('Filesystem state')).toContain('with errors');
    const unmount = { nowSec: NOW, stateAtMount: 1, orphanFileIsEmpty: true, kbytesWritten: 0 };
    noteUnmount(superblock, unmount);
    superblock.save();
    expect(dumpe2fs(path).get('Filesystem state')).toContain('with errors');
  });

  it('survives a recovery that brings back an older superblock', () => {
    const path = directory.make(16 * MIB, []);
    const older = new LoadedSuperblock(path);
    const newer = new LoadedSuperblock(path);
    recordError(newer, first);
    expect(copyErrorRecord(newer, older)).toBe(true);
    expect(older.bytes.subarray(1024, 2048)).toEqual(newer.bytes.subarray(1024, 2048));
    expect(copyErrorRecord(newer, older)).toBe(false);
  });

  it('is for what is wrong with the file system, not for refusals', () => {
    const corruption = new CorruptionError('inode', 'bad', { inode: 7, block: 8 });
    const place = { nowSec: 1, inode: 7, block: 8, where: 'inode' };
    expect(occurrenceOf(corruption, 1)).toEqual({ ...place, errno: Errno.EUCLEAN });
    expect(occurrenceOf(new DeviceError(5, 'read', 0, 1), 1)).toMatchObject({ errno: Errno.EIO, where: 'device' });
    expect(occurrenceOf(new FsError(Errno.ENOSPC, 'full'), 1)).toBe(null);
  });
});

describe('writing', () => {
  const obstacles = (args: readonly string[], commands: readonly string[] = []): string[] => {
    const path = directory.make(32 * MIB, args, commands);
    return writeObstacles(openImage(path).superblock, false);
  };

  it('has nothing in its way on ordinary file systems', () => {
    expect(obstacles([])).toEqual([]);
    expect(obstacles(['-O', 'orphan_file,large_dir,inline_data,ea_inode,project,metadata_csum_seed'])).toEqual([]);
    expect(obstacles(['-t', 'ext2', '-r', '0', '-O', 'none'])).toEqual([]);
  });

  it('is refused for features by their names', () => {
    expect(obstacles(['-O', 'bigalloc'])).toEqual(['feature bigalloc: clusters of several blocks can only be read']);
    expect(obstacles(['-O', 'quota'])).toEqual(['feature quota: quotas are not accounted for yet']);
    expect(obstacles(['-O', 'mmp'])).toEqual(['feature mmp: other systems can not be kept out']);
    expect(obstacles(['-O', 'verity'])).toEqual(['feature verity: files with verity can only be read']);
    expect(obstacles([], ['feature shared_blocks'])).toEqual(['feature shared_blocks: files share blocks']);
    expect(obstacles([], ['feature read-only'])).toEqual([
      'feature read-only: the file system is marked read-only for good',
    ]);
  });

  it('is refused after errors, for unknown things and for a journal that is elsewhere', () => {
    const path = directory.make(32 * MIB, []);
    const bytes = patchSuperblock(imageBytes(path), (view) => {
      view.setUint16(0x3a, 3, true);
      view.setUint32(0x4c, 2, true);
      view.setUint32(0x48, 1, true);
      view.setUint32(0xe0, 0, true);
      view.setUint32(0x64, view.getUint32(0x64, true) | 0x4000000, true);
    });
    writeFileSync(path, bytes);
    expect(writeObstacles(openImage(path).superblock, false)).toEqual([
      'feature FEATURE_R26 is not supported for writing',
      'revision 2 is not known',
      'the file system was made for GNU/Hurd',
      'the journal is on another device',
      'errors detected; running e2fsck is required',
    ]);
  });
});
