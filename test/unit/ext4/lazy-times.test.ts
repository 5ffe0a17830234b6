import { afterAll, describe, expect, it } from 'vitest';
import type { WritableBlockDevice } from '../../../service/ext4/block-device.ts';
import { DeviceError } from '../../../service/ext4/errors.ts';
import type { Inode } from '../../../service/ext4/inode.ts';
import { AttributeChange } from '../../../service/ext4/namespace/set-attributes.ts';
import type { WritableFilesystem } from '../../../service/ext4/writable-filesystem.ts';
import type { WriteOptions } from '../../../service/ext4/write-options.ts';
import { Errno } from '../../../shared/errno.ts';
import { debugfs } from '../../support/e2fsprogs.ts';
import { ImageDirectory } from '../../support/ext4-image.ts';
import { bytesOf, e2fsckComplaints, openWritable, WritableImage } from '../../support/writable-image.ts';

const MIB = 2 ** 20;
const HALF_A_DAY = 12 * 60 * 60;
const images = new ImageDirectory();
afterAll(() => images.remove());

/** A second later with each look. */
function goingOn(): WriteOptions['readClock'] {
  let sec = 1_800_000_000;
  return (into) => {
    into.sec = ++sec;
    into.nsec = 500;
  };
}

class LazyImage extends WritableImage {
  constructor(mkfs: readonly string[] = [], options: Partial<WriteOptions> = {}) {
    const path = images.make(32 * MIB, ['-t', 'ext4', '-b', '4096', ...mkfs]);
    super(path, { lazyTimes: true, readClock: goingOn(), ...options });
  }

  /** A file whose times are on the disk. */
  file(name: string): Inode {
    const bytes = bytesOf(name);
    const inode = this.begin().createNode(this.root, bytes, 0, bytes.length, 0o100644, 0, 0, 0);
    this.fs.commitNow();
    return inode;
  }

  /** Reads the file, so that its access time changes. Returns the new time, in seconds. */
  read(inode: Inode): number {
    this.begin().touchAccessTime(inode);
    return this.fs.now.sec;
  }

  /** The access time that would be found after a crash, once the journal is replayed. */
  afterCrash(ino: number): number {
    const path = images.file('crashed');
    this.save(path);
    return openWritable(new WritableImage(path).device).inode(ino).atimeSec;
  }
}

/** A clock that the test sets. */
function clock(): { sec: number; readonly readClock: WriteOptions['readClock'] } {
  const time = {
    sec: 1_800_000_000,
    readClock: (into: { sec: number; nsec: number }) => {
      into.sec = time.sec;
      into.nsec = 0;
    },
  };
  return time;
}

describe('a change of times alone', () => {
  it('is seen at once, needs no commit, and is lost by a crash', () => {
    const image = new LazyImage();
    const file = image.file('file');
    const before = file.atimeSec;
    const { ino } = file;
    const after = image.read(file);
    expect(image.begin().inode(ino).atimeSec).toBe(after);
    expect(image.fs.hasChanges).toBe(false);
    image.fs.commitNow();
    expect(image.afterCrash(ino)).toBe(before);
  });

  it.each<[string, (fs: WritableFilesystem, file: Inode) => void]>([
    ['fsync', (fs, { ino }) => fs.lazyTimes.write(ino)],
    ['sync', (fs) => fs.lazyTimes.writeAll()],
    ['eviction', (fs, { ino }) => fs.evict(ino)],
    ['another change of the inode', (fs, file) => fs.setXattr(file, bytesOf('user.name'), bytesOf('value'), 0)],
    ['fsync of an inode in the same block', (fs, { ino }) => fs.lazyTimes.write(ino + 1)],
  ])('is part of the next commit after %s', (_when, act) => {
    const image = new LazyImage();
    const file = image.file('file');
    const other = image.file('other');
    expect(other.tableBlock).toBe(file.tableBlock);
    image.read(other);
    const after = image.read(file);
    act(image.begin(), file);
    expect(image.fs.needsCommit(file, false)).toBe(true);
    image.fs.commitNow();
    expect(image.afterCrash(file.ino)).toBe(after);
  });

  it('is written at unmount', () => {
    const image = new LazyImage();
    const file = image.file('file');
    const after = image.read(file);
    image.close();
    const path = images.file('unmounted');
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
    expect(debugfs(path, `stat <${file.ino}>`)).toContain(`atime: 0x${after.toString(16)}:`);
  });

  it('is written when it is half a day old, and not before', () => {
    const time = clock();
    const image = new LazyImage([], time);
    const file = image.file('file');
    time.sec += 10;
    image.read(file);
    time.sec += HALF_A_DAY - 1;
    expect(image.begin().hasChanges).toBe(false);
    time.sec++;
    expect(image.begin().hasChanges).toBe(true);
    image.fs.commitNow();
    expect(image.afterCrash(file.ino)).toBe(1_800_000_010);
  });

  it('survives that the inode loses its place in memory', () => {
    const image = new LazyImage();
    const file = image.file('file');
    const after = image.read(file);
    image.fs.shrink();
    expect(image.begin().inode(file.ino).atimeSec).toBe(after);
  });

  it('goes with the inode when that is deleted', () => {
    const image = new LazyImage();
    const file = image.file('file');
    image.read(file);
    image.begin().unlink(image.root, bytesOf('file'), 0, 4);
    image.read(file);
    image.begin().evict(file.ino);
    const again = image.file('again');
    expect(again.ino).toBe(file.ino);
    expect(image.begin().inode(file.ino)).toBe(again);
    image.close();
  });

  it('stays in memory when the handle that would have written it is cancelled', () => {
    const image = new LazyImage();
    const file = image.file('file');
    const after = image.read(file);
    const fs = image.begin();
    fs.handle.begin();
    fs.inodes.modify(file);
    file.uid = 7;
    fs.handle.cancel();
    expect([file.uid, file.atimeSec]).toEqual([0, after]);
    image.reopen();
    expect(image.fs.inode(file.ino).atimeSec).toBe(after);
  });

  it('is at once part of the next commit where the inode has no room for nanoseconds', () => {
    const image = new LazyImage(['-I', '128', '-O', '^metadata_csum']);
    const file = image.file('file');
    image.read(file);
    expect(image.fs.hasChanges).toBe(true);
    expect(file.atimeNsec).toBe(0);
  });

  it('may be one that the kernel has kept, but not one that a program asks for', () => {
    const image = new LazyImage();
    const file = image.file('file');
    const change = new AttributeChange();
    change.setsMtime = true;
    change.mtimeSec = 1_700_000_000;
    change.bringsKeptTimes = true;
    image.begin().setAttributes(file, change);
    expect([file.mtimeSec, image.fs.hasChanges]).toEqual([1_700_000_000, false]);
    change.bringsKeptTimes = false;
    image.begin().setAttributes(file, change);
    expect(image.fs.hasChanges).toBe(true);
  });

  it('is made by writing to blocks that the file has', () => {
    const image = new LazyImage(['-O', '^inline_data']);
    const file = image.file('file');
    image.begin().writeSmall(file, 0, new Uint8Array(5000).fill(1));
    image.fs.commitNow();
    image.begin().writeSmall(file, 100, new Uint8Array(100).fill(2));
    expect([file.mtimeSec, image.fs.hasChanges]).toEqual([image.fs.now.sec, false]);
    image.reopen();
    expect(image.fs.inode(file.ino).mtimeSec).toBe(file.mtimeSec);
  });
});

describe('many changes of times', () => {
  it('are written little by little when there are too many', () => {
    const image = new LazyImage(['-N', '8192']);
    const files = Array.from({ length: 5000 }, (_, index) => {
      const name = bytesOf(`file ${index}`);
      return image.begin().createNode(image.root, name, 0, name.length, 0o100644, 0, 0, 0);
    });
    image.fs.commitNow();
    for (const file of files.slice(0, 4096)) image.read(file);
    expect(image.begin().hasChanges).toBe(false);
    for (const file of files.slice(4096)) image.read(file);
    expect(image.begin().hasChanges).toBe(true);
    const last = files[files.length - 1];
    image.reopen();
    expect(image.fs.inode(last.ino).atimeSec).toBe(last.atimeSec);
    expect(image.fs.inode(files[0].ino).atimeSec).toBe(files[0].atimeSec);
  });
});

describe('times that cannot be written', () => {
  it('are reported and given up when their block fails, and others are written', () => {
    const reports: unknown[] = [];
    const image = new LazyImage(['-N', '8192'], { report: (error) => reports.push(error), onAbort: () => {} });
    const lost = image.file('lost');
    const others = Array.from({ length: 20 }, (_, index) => image.file(`other ${index}`));
    const other = others[19];
    expect(other.tableBlock).not.toBe(lost.tableBlock);
    image.reopen();
    const [lostAgain, otherAgain] = [image.fs.inode(lost.ino), image.fs.inode(other.ino)];
    image.read(lostAgain);
    const after = image.read(otherAgain);
    failReads(image.fs, lost.tableBlock);
    image.fs.lazyTimes.writeAll();
    expect(reports).toEqual([expect.any(DeviceError)]);
    image.fs.commitNow();
    expect(image.afterCrash(other.ino)).toBe(after);
    image.fs.lazyTimes.writeAll();
    expect(reports).toHaveLength(1);
  });

  it('make fsync fail, and are tried again', () => {
    const image = new LazyImage();
    const file = image.file('file');
    image.reopen();
    image.read(image.fs.inode(file.ino));
    const heal = failReads(image.fs, file.tableBlock);
    expect(() => image.begin().lazyTimes.write(file.ino)).toThrow(DeviceError);
    heal();
    image.begin().lazyTimes.write(file.ino);
    expect(image.fs.hasChanges).toBe(true);
  });

  it('stay in memory after an abort, and nothing fails for them', () => {
    const image = new LazyImage([], { onAbort: () => {} });
    const file = image.file('file');
    const after = image.read(file);
    image.fs.abort(Errno.EIO, 'a test');
    image.begin().evict(file.ino);
    image.fs.lazyTimes.writeAll();
    image.fs.shrink();
    expect(image.begin().inode(file.ino).atimeSec).toBe(after);
    expect(image.fs.close()).toBe(Errno.EIO);
  });
});

/** The block is not in the cache any more, and the device can't read it until the returned function is called. */
function failReads(fs: WritableFilesystem, blockNr: number): () => void {
  const device: WritableBlockDevice = fs.device;
  const block = fs.cache.peek(blockNr);
  if (block !== null) fs.cache.drop(block);
  const read = device.read.bind(device);
  const failing = (offsetBytes: number, into: Uint8Array): number => {
    const isHit = offsetBytes <= blockNr * fs.blockSize && offsetBytes + into.length > blockNr * fs.blockSize;
    return isHit ? Errno.EIO : read(offsetBytes, into);
  };
  Object.assign(device, { read: failing });
  return () => Object.assign(device, { read });
}
