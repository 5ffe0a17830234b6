import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { FsError } from '../../../service/ext4/errors.ts';
import { FallocateMode } from '../../../service/ext4/fallocate.ts';
import type { Inode } from '../../../service/ext4/inode.ts';
import { InodeFlag } from '../../../service/ext4/layout/inode.ts';
import { WritePlan } from '../../../service/ext4/planned-write.ts';
import { truncate } from '../../../service/ext4/truncate.ts';
import type { WritableFilesystem } from '../../../service/ext4/writable-filesystem.ts';
import { Errno } from '../../../shared/errno.ts';
import { debugfs } from '../../support/e2fsprogs.ts';
import { ImageDirectory } from '../../support/ext4-image.ts';
import { bytesOf, e2fsckComplaints, WritableImage } from '../../support/writable-image.ts';

const M = FallocateMode;
const MIB = 2 ** 20;
const images = new ImageDirectory();
afterAll(() => images.remove());

const KINDS: [string, number, string[]][] = [
  ['1 KiB blocks', 24 * MIB, ['-b', '1024', '-t', 'ext4']],
  ['2 KiB blocks', 24 * MIB, ['-b', '2048', '-t', 'ext4']],
  ['4 KiB blocks', 48 * MIB, ['-b', '4096', '-t', 'ext4']],
  ['64 KiB blocks', 96 * MIB, ['-b', '65536', '-t', 'ext4']],
  ['no checksums and no 64-bit', 24 * MIB, ['-b', '1024', '-t', 'ext4', '-O', '^metadata_csum,^64bit,uninit_bg']],
  ['no journal', 24 * MIB, ['-b', '1024', '-t', 'ext4', '-O', '^has_journal']],
  ['inline data', 24 * MIB, ['-b', '1024', '-t', 'ext4', '-O', 'inline_data', '-I', '256']],
  ['block pointers', 24 * MIB, ['-b', '1024', '-t', 'ext2']],
  ['block pointers and a journal', 24 * MIB, ['-b', '4096', '-t', 'ext3']],
  ['revision 0', 24 * MIB, ['-b', '1024', '-t', 'ext2', '-r', '0', '-O', 'none']],
];

function createFile(fs: WritableFilesystem, name: string): Inode {
  const bytes = bytesOf(name);
  return fs.createNode(fs.inode(2), bytes, 0, bytes.length, 0o100644, 0, 0, 0);
}

function removeFile(fs: WritableFilesystem, name: string): void {
  const bytes = bytesOf(name);
  fs.evict(fs.unlink(fs.inode(2), bytes, 0, bytes.length).ino);
}

const pattern = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => 1 + ((seed + index * 11) % 253));

/** A file and what it should contain. */
class Checked {
  data = new Uint8Array(0);
  readonly fs: WritableFilesystem;
  readonly inode: Inode;
  readonly name: string;

  constructor(fs: WritableFilesystem, name: string) {
    this.fs = fs;
    this.name = name;
    this.inode = createFile(fs, name);
  }

  write(offset: number, bytes: Uint8Array): void {
    expect(this.fs.writeSmall(this.inode, offset, bytes)).toBe(bytes.length);
    this.#put(offset, bytes);
  }

  /** As the native threads do it. */
  writePlanned(offset: number, bytes: Uint8Array): void {
    const plan = new WritePlan();
    for (let done = 0; done < bytes.length; ) {
      const rest = bytes.subarray(done);
      this.fs.planWrite(this.inode, offset + done, rest.length, plan);
      let at = 0;
      for (let index = 0; index < plan.segmentCount; index++) {
        const [deviceOffset, length] = plan.segments.subarray(2 * index, 2 * index + 2);
        this.fs.device.write(deviceOffset, rest.subarray(at, at + length));
        at += length;
      }
      expect(at).toBe(plan.lengthBytes);
      if (at > 0) this.fs.finishWrite(this.inode, offset + done, at);
      else at = this.fs.writeSmall(this.inode, offset + done, rest.subarray(0, this.fs.blockSize));
      done += at;
    }
    this.#put(offset, bytes);
  }

  truncate(size: number): void {
    truncate(this.fs, this.inode, size);
    this.resize(size);
  }

  fallocate(mode: number, offset: number, length: number): number {
    try {
      this.fs.fallocate(this.inode, mode, offset, length);
      return 0;
    } catch (error) {
      if (error instanceof FsError) return error.errno;
      throw error;
    }
  }

  resize(size: number): void {
    const data = new Uint8Array(size);
    data.set(this.data.subarray(0, size));
    this.data = data;
  }

  #put(offset: number, bytes: Uint8Array): void {
    if (offset + bytes.length > this.data.length) this.resize(offset + bytes.length);
    this.data.set(bytes, offset);
  }
}

let saved = 0;

/** Closes the image; e2fsck must be silent and debugfs must see what was written. */
function expectSound(image: WritableImage, files: readonly Checked[]): void {
  image.close();
  const path = images.file(`saved${saved++}`);
  image.save(path);
  expect(e2fsckComplaints(path)).toBe('');
  for (const file of files) {
    const dump = images.file('dump');
    debugfs(path, `dump /${file.name} ${dump}`);
    expect(Buffer.compare(readFileSync(dump), file.data)).toBe(0);
  }
}

describe.each(KINDS)('files on an image with %s', (_name, sizeBytes, options) => {
  const isIndirect = options.includes('ext2') || options.includes('ext3');

  it('are written in small and in large pieces, with holes between them', () => {
    const image = new WritableImage(images.make(sizeBytes, options));
    const fs = image.begin();
    const file = new Checked(fs, 'file');
    const { blockSize } = fs;
    file.write(0, pattern(20, 1));
    file.write(20, pattern(100, 2));
    file.write(3 * blockSize + 17, pattern(2 * blockSize, 3));
    file.writePlanned(16 * blockSize, pattern(32 * blockSize, 4));
    file.write(30 * blockSize - 5, pattern(10, 5));
    file.writePlanned(40 * blockSize, pattern(40 * blockSize, 6));
    file.write(90 * blockSize + 1, pattern(1, 7));
    const small = new Checked(fs, 'small');
    small.write(0, pattern(50, 8));
    small.write(45, pattern(60, 9));
    const sparse = new Checked(fs, 'sparse');
    for (let index = 0; index < 30; index++) sparse.write(index * 5 * blockSize, pattern(blockSize, index));
    expectSound(image, [file, small, sparse]);
  });

  it('become shorter and longer, and what was cut off reads as zeros', () => {
    const image = new WritableImage(images.make(sizeBytes, options));
    const fs = image.begin();
    const file = new Checked(fs, 'file');
    const { blockSize } = fs;
    file.write(0, pattern(50 * blockSize + 100, 1));
    file.truncate(20 * blockSize + 10);
    file.truncate(30 * blockSize + 5);
    file.truncate(30 * blockSize + 5);
    file.write(40 * blockSize, pattern(3, 2));
    const gone = new Checked(fs, 'gone');
    gone.write(0, pattern(40 * blockSize, 3));
    gone.truncate(0);
    expect(gone.inode.blocks512).toBe(0);
    const tiny = new Checked(fs, 'tiny');
    tiny.write(0, pattern(10, 4));
    tiny.truncate(70);
    tiny.truncate(5);
    tiny.truncate(5 * blockSize);
    const removed = new Checked(fs, 'removed');
    removed.write(0, pattern(60 * blockSize, 5));
    removeFile(fs, 'removed');
    expectSound(image, [file, gone, tiny]);
  });

  it('get space and holes by fallocate', () => {
    const image = new WritableImage(images.make(sizeBytes, options));
    const fs = image.begin();
    const file = new Checked(fs, 'file');
    const { blockSize } = fs;
    file.write(0, pattern(60 * blockSize + 100, 1));
    expect(file.fallocate(M.PUNCH_HOLE | M.KEEP_SIZE, 10 * blockSize - 7, 5 * blockSize)).toBe(0);
    file.data.fill(0, 10 * blockSize - 7, 15 * blockSize - 7);
    if (isIndirect) {
      for (const mode of [0, M.KEEP_SIZE, M.ZERO_RANGE, M.COLLAPSE_RANGE, M.INSERT_RANGE]) {
        expect(file.fallocate(mode, 0, blockSize)).toBe(Errno.EOPNOTSUPP);
      }
      expectSound(image, [file]);
      return;
    }
    expect(file.fallocate(M.KEEP_SIZE, 0, 100 * blockSize)).toBe(0);
    expect(file.fallocate(0, 5, 70 * blockSize)).toBe(0);
    file.resize(70 * blockSize + 5);
    expect(file.fallocate(M.ZERO_RANGE, 20 * blockSize + 3, 4 * blockSize)).toBe(0);
    file.data.fill(0, 20 * blockSize + 3, 24 * blockSize + 3);
    file.write(22 * blockSize + 1, pattern(9, 2));
    expect(file.fallocate(M.COLLAPSE_RANGE, 30 * blockSize, 7 * blockSize)).toBe(0);
    file.data.copyWithin(30 * blockSize, 37 * blockSize);
    file.resize(63 * blockSize + 5);
    expect(file.fallocate(M.INSERT_RANGE, 3 * blockSize, 11 * blockSize)).toBe(0);
    file.resize(74 * blockSize + 5);
    file.data.copyWithin(14 * blockSize, 3 * blockSize);
    file.data.fill(0, 3 * blockSize, 14 * blockSize);
    expect(file.fallocate(M.COLLAPSE_RANGE, blockSize, 80 * blockSize)).toBe(Errno.EINVAL);
    expect(file.fallocate(M.INSERT_RANGE, 100 * blockSize, blockSize)).toBe(Errno.EINVAL);
    expect(file.fallocate(M.COLLAPSE_RANGE, 1, blockSize)).toBe(Errno.EINVAL);
    expect(file.fallocate(0x40, 0, blockSize)).toBe(Errno.EOPNOTSUPP);
    expect(file.fallocate(M.PUNCH_HOLE, 0, blockSize)).toBe(Errno.EOPNOTSUPP);
    expectSound(image, [file]);
  });

  it('fill the file system up, and everything stays in order', () => {
    const image = new WritableImage(images.make(sizeBytes / 2, options));
    const fs = image.begin(1000, 1000);
    const file = new Checked(fs, 'file');
    const chunk = pattern(256 * 1024, 1);
    let size = 0;
    for (let written = chunk.length; written === chunk.length; size += written) {
      try {
        written = fs.writeSmall(file.inode, size, chunk);
      } catch (error) {
        if (!(error instanceof FsError)) throw error;
        expect(error.errno).toBe(Errno.ENOSPC);
        written = 0;
      }
    }
    file.resize(size);
    for (let at = 0; at < size; at += chunk.length) file.data.set(chunk.subarray(0, size - at), at);
    expect(file.data.length).toBeGreaterThan(sizeBytes / 8);
    file.truncate(Math.floor(size / 2));
    expectSound(image, [file]);
  });
});

describe('a file with many extents', () => {
  it('has a deep tree that e2fsck finds in order, and gives all of it back', () => {
    const image = new WritableImage(images.make(48 * MIB, ['-b', '1024', '-t', 'ext4', '-I', '128', '-N', '64']));
    const fs = image.begin();
    const file = createFile(fs, 'file');
    const bytes = pattern(3, 1);
    for (let index = 0; index < 8000; index++) {
      fs.beginRequest(0, 0);
      fs.writeSmall(file, index * 2048, bytes);
    }
    for (let index = 0; index < 8000; index += 3) fs.fallocate(file, M.PUNCH_HOLE | M.KEEP_SIZE, index * 2048, 1024);
    image.close();
    const path = images.file('deep');
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
    expect(debugfs(path, 'stat /file')).toContain('ETB1');
    image.reopen();
    truncate(image.begin(), image.fs.inode(file.ino), 0);
    expect(image.fs.inode(file.ino).blocks512).toBe(0);
    image.close();
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
  });

  it('can be cut off at any point of its truncation, and the rest is done at the next mount', () => {
    const image = new WritableImage(
      images.make(24 * MIB, ['-b', '1024', '-t', 'ext4', '-O', '^has_journal', '-N', '64', '-g', '1024']),
    );
    const { fs } = image;
    image.begin();
    const file = createFile(fs, 'file');
    const bytes = pattern(1024, 1);
    for (let index = 0; index < 8000; index++) {
      fs.beginRequest(0, 0);
      fs.writeSmall(file, index * 2048, bytes);
    }
    const size = 2048 * 100 + 7;
    const expected = new Uint8Array(size);
    for (let at = 0; at < size; at += 2048) expected.set(bytes.subarray(0, size - at), at);
    expect(fs.commitNow()).toBe(0);
    const states: Uint8Array[] = [];
    const begin = fs.handle.begin.bind(fs.handle);
    let isInside = false;
    fs.handle.begin = () => {
      if (!isInside) {
        isInside = true;
        expect(fs.commitNow()).toBe(0);
        states.push(image.bytes.slice());
        isInside = false;
      }
      begin();
    };
    truncate(fs, file, size);
    expect(states.length).toBeGreaterThan(2);
    for (const [index, state] of states.entries()) {
      image.bytes.set(state);
      const path = images.file('crashed');
      image.save(path);
      const crashed = new WritableImage(path);
      crashed.close();
      crashed.save(path);
      expect(e2fsckComplaints(path)).toBe('');
      const dump = images.file('dump');
      debugfs(path, `dump /file ${dump}`);
      const found = readFileSync(dump);
      if (index > 0) expect(Buffer.compare(found, expected)).toBe(0);
    }
  });
});

describe('fallocate without enough space', () => {
  it('fails with ENOSPC, keeps what it got, and the size says how much that is', () => {
    const image = new WritableImage(images.make(16 * MIB, ['-b', '1024', '-t', 'ext4']));
    const fs = image.begin(1000, 1000);
    const file = new Checked(fs, 'file');
    file.write(0, pattern(100, 1));
    expect(file.fallocate(0, 0, 100 * MIB)).toBe(Errno.ENOSPC);
    expect(file.inode.sizeBytes).toBeGreaterThan(4 * MIB);
    expect(file.inode.sizeBytes).toBeLessThan(16 * MIB);
    file.resize(file.inode.sizeBytes);
    // The blocks are there to be written to, though no others are.
    file.write(3 * MIB + 5, pattern(5000, 2));
    file.write(5 * MIB, pattern(1, 3));
    const kept = new Checked(fs, 'kept');
    expect(kept.fallocate(M.KEEP_SIZE, 0, 100 * MIB)).toBe(Errno.ENOSPC);
    expect(kept.inode.sizeBytes).toBe(0);
    expectSound(image, [file, kept]);
  });
});

describe('the size of a file', () => {
  it('of 2 GiB and more makes the file system one with large files', () => {
    const image = new WritableImage(images.make(8 * MIB, ['-b', '1024', '-t', 'ext4', '-O', '^large_file,^huge_file']));
    const fs = image.begin();
    const file = createFile(fs, 'file');
    fs.writeSmall(file, 2 ** 31 - 1, pattern(1, 1));
    image.close();
    const path = images.file('large');
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
    expect(debugfs(path, 'features')).toContain('large_file');
  });

  it('can not be more than the map describes', () => {
    for (const [type, limit] of [
      ['ext4', (2 ** 32 - 1) * 1024],
      ['ext2', (12 + 256 + 256 ** 2 + 256 ** 3) * 1024],
    ] as const) {
      const image = new WritableImage(images.make(8 * MIB, ['-b', '1024', '-t', type]));
      const fs = image.begin();
      const file = createFile(fs, 'file');
      expect(() => fs.writeSmall(file, limit, pattern(1, 1))).toThrow("can't describe");
      expect(() => truncate(fs, file, limit + 1)).toThrow("can't describe");
      expect(fs.writeSmall(file, limit - 3, pattern(10, 1))).toBe(3);
      expect(file.sizeBytes).toBe(limit);
      image.close();
      const path = images.file('limit');
      image.save(path);
      expect(e2fsckComplaints(path)).toBe('');
    }
  });
});

describe('inline data', () => {
  it('stays in the inode while it fits, and moves to a block when it does not', () => {
    const options = ['-b', '1024', '-t', 'ext4', '-O', 'inline_data', '-I', '256'];
    const image = new WritableImage(images.make(8 * MIB, options, ['write /etc/hostname file']));
    const fs = image.begin();
    const inode = fs.inode(fs.lookup(fs.inode(2), bytesOf('file'), 0, 4));
    expect(inode.hasFlag(InodeFlag.INLINE_DATA)).toBe(true);
    fs.writeSmall(inode, 0, pattern(70, 1));
    expect(inode.hasFlag(InodeFlag.INLINE_DATA)).toBe(true);
    fs.writeSmall(inode, 60, pattern(200, 2));
    expect(inode.hasFlag(InodeFlag.INLINE_DATA)).toBe(false);
    const content = new Uint8Array(260);
    expect(fs.readFile(inode, 0, content)).toBe(260);
    expect(Buffer.compare(content.subarray(0, 60), pattern(60, 1))).toBe(0);
    expect(Buffer.compare(content.subarray(60), pattern(200, 2))).toBe(0);
    image.close();
    const path = images.file('inline');
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
  });
});
