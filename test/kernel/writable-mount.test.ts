import {
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { alignedBuffer } from '../../native/writable-block-device.ts';
import { dumpe2fs } from '../support/e2fsprogs.ts';
import { Ext4Service } from '../support/ext4-service.ts';
import { type Fuse4fsMount, mountFuse4fs, program } from '../support/fuse4fs-mount.ts';
import { kernelSnapshot, makeImage, withKernelMount } from '../support/kernel-image.ts';
import { populationOf } from '../support/populate.ts';
import { run, sha256OfFile, TestRoom } from '../support/test-room.ts';
import { compareSnapshots, FUSE_ALLOWANCES, summarize, takeSnapshot } from '../support/tree-snapshot.ts';
import { e2fsckComplaints } from '../support/writable-image.ts';

/** What programs do on a mount that is written; afterwards e2fsck must have nothing to say. */
const room = new TestRoom('writable-mount');
afterEach(() => room.reset());
afterAll(() => room.clear());

const MIB = 2 ** 20;
const EMPTY = { sizeBytes: 64 * MIB, mkfs: ['-t', 'ext4'] };

/** Text that differs from place to place. */
function content(bytes: number, seed: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) buffer.writeUInt32LE((at * 2654435761 + seed) >>> 0, at);
  return buffer;
}

async function withMount(options: string, use: (root: string, mount: Fuse4fsMount) => void | Promise<void>) {
  const image = makeImage(room, 'image', EMPTY);
  const mount = await mountFuse4fs(room, image, options);
  await use(mount.mountPoint, mount);
  await mount.unmount();
  expect(e2fsckComplaints(image)).toBe('');
  return image;
}

function open(path: string, flags: number): number {
  return openSync(path, flags | constants.O_CREAT, 0o644);
}

const { O_RDWR, O_DIRECT, O_SYNC, O_DSYNC } = constants;

describe.each(['rw', 'nowriteback_cache', 'sync,dirsync', 'acl,commit=1'])('a mount with %s', (options) => {
  test('keeps what was written, through unmount and mount', async () => {
    const large = content(5 * MIB + 123, 1);
    const image = await withMount(options, (root) => {
      writeFileSync(join(root, 'large'), large);
      writeFileSync(join(root, 'small'), 'small');
      mkdirSync(join(root, 'directory'));
      symlinkSync('small', join(root, 'link'));
      linkSync(join(root, 'small'), join(root, 'directory/other'));
      renameSync(join(root, 'small'), join(root, 'directory/small'));
      expect(readFileSync(join(root, 'large')).equals(large)).toBe(true);
    });
    const mount = await mountFuse4fs(room, image, 'ro');
    const { mountPoint } = mount;
    expect(readdirSync(mountPoint).sort()).toEqual(['directory', 'large', 'link', 'lost+found']);
    expect(readFileSync(join(mountPoint, 'large')).equals(large)).toBe(true);
    expect(readFileSync(join(mountPoint, 'directory/small'), 'utf8')).toBe('small');
    expect(statSync(join(mountPoint, 'directory/other')).nlink).toBe(2);
    await mount.unmount();
  });

  test('mixes writes past the page cache with writes through it', async () => {
    await withMount(options, (root) => {
      const path = join(root, 'mixed');
      const buffered = open(path, O_RDWR);
      const direct = open(path, O_RDWR | O_DIRECT);
      const block = alignedBuffer(MIB);
      const expected = Buffer.alloc(3 * MIB);
      for (let round = 0; round < 8; round++) {
        const at = ((round * 7) % 24) * 65536;
        block.set(content(MIB, round));
        writeSync(direct, block, 0, MIB, at);
        expected.set(block, at);
        const text = content(100 + round, round + 100);
        writeSync(buffered, text, 0, text.length, at + 5000);
        expected.set(text, at + 5000);
        if (round % 2 === 0) fsyncSync(buffered);
        const read = alignedBuffer(MIB);
        readSync(direct, read, 0, MIB, at);
        expect(expected.subarray(at, at + MIB).equals(read)).toBe(true);
      }
      const { size } = fstatSync(buffered);
      expect(readFileSync(path).equals(expected.subarray(0, size))).toBe(true);
      for (const fd of [buffered, direct]) closeSync(fd);
    });
  });

  test('lets an open file live on without a name', async () => {
    await withMount(options, (root) => {
      const path = join(root, 'gone');
      const fd = open(path, O_RDWR);
      writeSync(fd, content(300_000, 4));
      unlinkSync(path);
      fsyncSync(fd);
      expect(fstatSync(fd).nlink).toBe(0);
      expect(existsSync(path)).toBe(false);
      writeSync(fd, 'more', 300_000);
      const read = Buffer.alloc(300_004);
      expect(readSync(fd, read, 0, read.length, 0)).toBe(300_004);
      expect(read.subarray(0, 300_000).equals(content(300_000, 4))).toBe(true);
      closeSync(fd);
    });
  });

  test('cuts files and makes them longer, with zeros where nothing was written', async () => {
    await withMount(options, (root) => {
      const fd = open(join(root, 'file'), O_RDWR);
      const text = content(100_000, 9);
      writeSync(fd, text);
      ftruncateSync(fd, 12_345);
      ftruncateSync(fd, 50_000);
      const expected = Buffer.alloc(50_000);
      text.copy(expected, 0, 0, 12_345);
      const read = Buffer.alloc(60_000);
      expect(readSync(fd, read, 0, read.length, 0)).toBe(50_000);
      expect(read.subarray(0, 50_000).equals(expected)).toBe(true);
      closeSync(fd);
    });
  });

  test('replaces and removes, and refuses what must be refused', async () => {
    await withMount(options, (root) => {
      const at = (name: string) => join(root, name);
      writeFileSync(at('one'), 'one');
      writeFileSync(at('two'), 'two');
      const old = openSync(at('two'), 'r');
      renameSync(at('one'), at('two'));
      expect(readFileSync(at('two'), 'utf8')).toBe('one');
      const read = Buffer.alloc(3);
      readSync(old, read, 0, 3, 0);
      expect(read.toString()).toBe('two');
      closeSync(old);
      mkdirSync(at('full/inner'), { recursive: true });
      expect(() => rmdirSync(at('full'))).toThrow(/ENOTEMPTY/);
      expect(() => renameSync(at('full'), at('full/inner/self'))).toThrow(/EINVAL/);
      const long = 'x'.repeat(256);
      expect(() => mkdirSync(at(long))).toThrow(/ENAMETOOLONG/);
      expect(() => writeFileSync(at(long), '')).toThrow(/ENAMETOOLONG/);
      expect(() => renameSync(at('two'), at(long))).toThrow(/ENAMETOOLONG/);
      expect(() => symlinkSync('two', at(long))).toThrow(/ENAMETOOLONG/);
      expect(() => linkSync(at('two'), at(long))).toThrow(/ENAMETOOLONG/);
      utimesSync(at('two'), 5, 100.25);
      expect(statSync(at('two')).mtimeMs).toBe(100_250);
      rmdirSync(at('full/inner'));
      rmdirSync(at('full'));
    });
  });

  test('synchronises files and directories', async () => {
    await withMount(options, (root) => {
      const directory = openSync(root, 'r');
      for (let round = 0; round < 5; round++) {
        const fd = open(join(root, `file${round}`), O_RDWR | (round % 2 === 0 ? O_SYNC : O_DSYNC));
        writeSync(fd, content(5000, round));
        fdatasyncSync(fd);
        fsyncSync(directory);
        closeSync(fd);
      }
      closeSync(directory);
    });
  });
});

test('a seek finds data that the kernel has not written back yet', async () => {
  await withMount('rw', (root) => {
    const path = join(root, 'sparse');
    const script = `
import os
fd = os.open(${JSON.stringify(path)}, os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b'x', 10 << 20)
print(os.lseek(fd, 0, os.SEEK_DATA) >> 20, os.lseek(fd, 0, os.SEEK_HOLE))
os.pwrite(fd, b'y' * 4096, 1 << 20)
print(os.lseek(fd, 4096, os.SEEK_DATA), os.lseek(fd, 1 << 20, os.SEEK_HOLE))
print(os.lseek(fd, 10 << 20, os.SEEK_HOLE) - (10 << 20))
`;
    expect(run('python3', ['-c', script])).toBe(`10 0\n1048576 ${MIB + 4096}\n1\n`);
  });
});

test('files without a name can be given one, and go away if they are not', async () => {
  const image = await withMount('rw', (root) => {
    const script = `
import os
root = ${JSON.stringify(root)}
kept = os.open(root, os.O_TMPFILE | os.O_RDWR, 0o640)
os.write(kept, b'kept')
os.link(f'/proc/self/fd/{kept}', root + '/kept', src_dir_fd=os.open(root, 0), follow_symlinks=True)
lost = os.open(root, os.O_TMPFILE | os.O_RDWR, 0o640)
os.write(lost, b'l' * 100000)
os.fsync(lost)
`;
    run('python3', ['-c', script]);
    expect(readFileSync(join(root, 'kept'), 'utf8')).toBe('kept');
  });
  await withKernelMount(room, image, 'ro', (root) => {
    expect(readdirSync(root).sort()).toEqual(['kept', 'lost+found']);
  });
});

test('a whole population looks the same to us and to the kernel', async () => {
  const image = makeImage(room, 'population', { ...EMPTY, sizeBytes: 128 * MIB });
  const mount = await mountFuse4fs(room, image, 'acl,noatime');
  populationOf({ blockBytes: 1024, seed: 5, largestDirectory: 500, longNames: false }).run(mount.mountPoint);
  const ours = await takeSnapshot(mount.mountPoint);
  await mount.unmount();
  expect(e2fsckComplaints(image)).toBe('');
  const kernels = await kernelSnapshot(room, image);
  const differences = compareSnapshots(kernels, ours, FUSE_ALLOWANCES);
  // Until it forgets a file, the kernel's FUSE driver keeps times that no ext4 inode can hold, and a ctime older than
  // the last change of flags.
  const expected =
    /^file system: readonly|^\.\/times\/file-\d+: mtime: (-2147483648|15032385535)\.|^\.\/flags\/\w+: ctime/;
  expect(summarize(differences.filter((line) => !expected.test(line)))).toEqual([]);
});

test('what was synchronised survives the end of the server, and e2fsck finds a clean log to replay', async () => {
  const image = makeImage(room, 'killed', EMPTY);
  const mount = await mountFuse4fs(room, image, 'commit=0');
  for (let index = 0; index < 50; index++) {
    const fd = open(join(mount.mountPoint, `file${index}`), O_RDWR);
    writeSync(fd, content(3000 * index, index));
    fsyncSync(fd);
    closeSync(fd);
  }
  writeFileSync(join(mount.mountPoint, 'not synchronised'), 'x');
  await mount.process.destroy();
  run('umount', ['-l', mount.mountPoint]);
  const again = await mountFuse4fs(room, image, 'rw');
  for (let index = 0; index < 50; index++) {
    const read = readFileSync(join(again.mountPoint, `file${index}`));
    expect(read.equals(content(3000 * index, index))).toBe(true);
  }
  await again.unmount();
  expect(e2fsckComplaints(image)).toBe('');
});

test('in the foreground the command ends with code 1 when the last changes could not be written', async () => {
  const place = room.mountPoint();
  run('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', place]);
  const image = join(place, 'image');
  // A file with holes where the journal will be.
  run('mke2fs', ['-q', '-t', 'ext4', '-E', 'lazy_itable_init=1,lazy_journal_init=1', image, '64m']);
  const mountPoint = room.mountPoint();
  const server = room.supervise([program('fuse4fs'), '-f', '-o', 'commit=0', image, mountPoint]);
  await room.waitForMount(mountPoint, 20_000);
  mkdirSync(join(mountPoint, 'directory'));
  expect(() => writeFileSync(join(place, 'rest'), Buffer.alloc(16 * MIB))).toThrow(/ENOSPC/);
  run('umount', [mountPoint]);
  expect(await server.waitForEnd(20_000)).toEqual({ code: 1, signal: null });
  expect(server.output).toContain('changes could not be written at the end');
  run('umount', [place]);
});

test('a mount with ro writes nothing, and an image that cannot be written is mounted read-only', async () => {
  const image = makeImage(room, 'image', EMPTY);
  const hash = sha256OfFile(image);
  const mount = await mountFuse4fs(room, image, 'ro');
  expect(() => writeFileSync(join(mount.mountPoint, 'file'), '')).toThrow(/EROFS/);
  await mount.unmount();
  expect(sha256OfFile(image)).toBe(hash);
  run('tune2fs', ['-O', 'read-only', image]);
  const marked = await mountFuse4fs(room, image, 'rw');
  expect(marked.process.output).toContain('mounted read-only');
  expect(() => writeFileSync(join(marked.mountPoint, 'file'), '')).toThrow(/EROFS/);
  await marked.unmount();
});

test('symbolic links are stored as the kernel stores them, whatever their length', async () => {
  const lengths = [1, 59, 60, 200, 1000];
  const make = (root: string) => {
    for (const length of lengths) symlinkSync('t'.repeat(length), join(root, `link${length}`));
  };
  const theirs = makeImage(room, 'theirs', { ...EMPTY, mkfs: ['-t', 'ext4', '-b', '1024'] });
  await withKernelMount(room, theirs, 'rw', make);
  const ours = makeImage(room, 'ours', { ...EMPTY, mkfs: ['-t', 'ext4', '-b', '1024'] });
  const mount = await mountFuse4fs(room, ours, 'rw');
  make(mount.mountPoint);
  await mount.unmount();
  const flagsOf = (image: string) =>
    lengths.map((length) => /Flags: (\S+)/.exec(run('debugfs', ['-R', `stat /link${length}`, image]))?.[1]);
  expect(flagsOf(ours)).toEqual(flagsOf(theirs));
  expect(flagsOf(ours)).toEqual(['0x0', '0x0', '0x80000', '0x80000', '0x80000']);
  expect(e2fsckComplaints(ours)).toBe('');
  await withKernelMount(room, ours, 'rw', (root) => {
    for (const length of lengths) {
      expect(readlinkSync(join(root, `link${length}`))).toBe('t'.repeat(length));
      unlinkSync(join(root, `link${length}`));
    }
  });
  expect(e2fsckComplaints(ours)).toBe('');
});

test('what is written counts as lifetime writes, file data included', async () => {
  const image = makeImage(room, 'image', EMPTY);
  const lifetimeKib = () => {
    const [number, unit] = (dumpe2fs(image).get('Lifetime writes') ?? '').split(' ');
    return Number(number) * (unit === 'MB' ? 1024 : 1);
  };
  const before = lifetimeKib();
  const mount = await mountFuse4fs(room, image, 'rw');
  writeFileSync(join(mount.mountPoint, 'file'), content(20 * MIB, 3));
  await mount.unmount();
  const writtenKib = lifetimeKib() - before;
  expect(writtenKib).toBeGreaterThanOrEqual(19 * 1024);
  expect(writtenKib).toBeLessThan(30 * 1024);
});

test('two servers cannot write one image', async () => {
  const image = makeImage(room, 'image', EMPTY);
  const mount = await mountFuse4fs(room, image, 'rw');
  expect(
    run('sh', [
      '-c',
      `python3 -c "
import fcntl, sys
fd = open(sys.argv[1], 'r+')
try:
    fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    print('free')
except OSError:
    print('locked')
" "$1"`,
      'sh',
      image,
    ]),
  ).toBe('locked\n');
  await mount.unmount();
});

describe('a mount that is written by way of the helper and the service', () => {
  test('is written by an unprivileged process, and clean afterwards', async () => {
    const image = makeImage(room, 'image', EMPTY);
    const service = await Ext4Service.start(room);
    try {
      const mountPoint = room.mountPoint();
      run(program('fuservicemount'), [image, mountPoint, '-t', 'fuse.ext4']);
      mkdirSync(join(mountPoint, 'directory'));
      writeFileSync(join(mountPoint, 'directory/file'), content(300_000, 7));
      renameSync(join(mountPoint, 'directory/file'), join(mountPoint, 'file'));
      expect(readFileSync(join(mountPoint, 'file'))).toEqual(content(300_000, 7));
      run('umount', [mountPoint]);
      await service.waitForServiceEnd(30_000);
    } finally {
      await service.stop();
    }
    expect(e2fsckComplaints(image)).toBe('');
    await withKernelMount(room, image, 'ro', (root) =>
      expect(readFileSync(join(root, 'file'))).toEqual(content(300_000, 7)),
    );
  });

  test('loses nothing when the server is told to stop', async () => {
    const image = makeImage(room, 'image', EMPTY);
    const mount = await mountFuse4fs(room, image, 'commit=300');
    writeFileSync(join(mount.mountPoint, 'file'), content(50_000, 3));
    for (const pid of mount.process.pids()) process.kill(pid, 'SIGTERM');
    await mount.process.waitForAll(20_000);
    run('umount', [mount.mountPoint]);
    expect(e2fsckComplaints(image)).toBe('');
    await withKernelMount(room, image, 'ro', (root) =>
      expect(readFileSync(join(root, 'file'))).toEqual(content(50_000, 3)),
    );
  });

  test('that is refused in the end leaves the image in order', async () => {
    const image = makeImage(room, 'image', EMPTY);
    const mountPoint = room.mountPoint();
    const refusing = [
      'strace',
      '-f',
      '-qq',
      '-o',
      '/dev/null',
      '-e',
      'inject=fsmount:error=EPERM',
      '-e',
      'trace=fsmount',
    ];
    const mount = room.supervise([...refusing, program('fuse4fs'), '-o', 'rw', image, mountPoint]);
    await mount.waitForAll(20_000);
    expect((await mount.ended).code).toBe(32);
    expect(dumpe2fs(image).get('Filesystem features')).not.toContain('needs_recovery');
    expect(e2fsckComplaints(image)).toBe('');
  });
});
