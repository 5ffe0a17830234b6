import { afterAll, describe, expect, it } from 'vitest';
import type { CorruptionError, DeviceError } from '../../../service/ext4/errors.ts';
import type { Inode } from '../../../service/ext4/inode.ts';
import { atomically } from '../../../service/ext4/journal/atomically.ts';
import { FileType, InodeFlag } from '../../../service/ext4/layout/inode.ts';
import { Errno } from '../../../shared/errno.ts';
import { debugfs, debugfsWrite, dumpe2fs, e2fsprogs } from '../../support/e2fsprogs.ts';
import { ImageDirectory, sealSuperblock } from '../../support/ext4-image.ts';
import { bytesOf, e2fsckComplaints, WritableImage } from '../../support/writable-image.ts';

const MIB = 2 ** 20;
const directory = new ImageDirectory();
afterAll(() => directory.remove());

const kinds: [string, number, string[]][] = [
  ['ext4', 64, []],
  ['1 KiB blocks and small groups', 64, ['-b', '1024', '-g', '2048', '-O', '^resize_inode']],
  ['64 KiB blocks', 64, ['-b', '65536']],
  ['uninit_bg with crc16, 32-byte descriptors', 64, ['-b', '1024', '-O', '^metadata_csum,uninit_bg,^64bit']],
  ['uninit_bg with crc16, 64-byte descriptors', 64, ['-b', '2048', '-O', '^metadata_csum,uninit_bg,64bit']],
  ['no descriptor checksums', 64, ['-b', '1024', '-O', '^metadata_csum,^uninit_bg']],
  ['no flex_bg', 64, ['-b', '1024', '-O', '^flex_bg,^resize_inode', '-g', '4096']],
  ['flexible groups of 4', 64, ['-b', '1024', '-g', '2048', '-G', '4', '-O', '^resize_inode']],
  ['ext3', 64, ['-t', 'ext3', '-b', '1024']],
  ['revision 0', 32, ['-t', 'ext2', '-r', '0', '-O', 'none', '-b', '1024']],
  ['128-byte inodes', 64, ['-I', '128', '-b', '1024']],
  ['1024-byte inodes', 64, ['-I', '1024']],
  ['no journal', 64, ['-b', '1024', '-O', '^has_journal']],
  ['meta_bg', 64, ['-b', '1024', '-O', 'meta_bg,^resize_inode']],
];

function make(image: WritableImage, dir: Inode, name: string, mode = FileType.REGULAR | 0o644): Inode {
  const bytes = bytesOf(name);
  const isDirectory = (mode & FileType.MASK) === FileType.DIRECTORY;
  return isDirectory
    ? image.begin().makeDirectory(dir, bytes, 0, bytes.length, mode, 0)
    : image.begin().createNode(dir, bytes, 0, bytes.length, mode, 0, 0, 0);
}

function remove(image: WritableImage, dir: Inode, name: string): void {
  const bytes = bytesOf(name);
  const inode = image.begin().unlink(dir, bytes, 0, bytes.length);
  image.begin().evict(inode.ino);
}

const DIRECTORY = FileType.DIRECTORY | 0o755;

const groupOf = (image: WritableImage, inode: Inode): number =>
  Math.floor((inode.ino - 1) / image.fs.geometry.inodesPerGroup);

/** The block that dumpe2fs says holds the inode bitmap of a group. */
function inodeBitmapOf(path: string, group: number): number {
  const found = new RegExp(`Group ${group}:[\\s\\S]*?Inode bitmap at (\\d+)`).exec(e2fsprogs('dumpe2fs', [path]));
  if (found === null) throw new Error(`group ${group} is not shown`);
  return Number(found[1]);
}

describe('allocating and freeing inodes', () => {
  it.each(kinds)('leaves a file system that e2fsck finds in order: %s', (_kind, mib, args) => {
    const path = directory.make(mib * MIB, args);
    const image = new WritableImage(path);
    const files: [number, string][] = [];
    const directories: Inode[] = [image.root];
    for (let step = 0; step < 150; step++) {
      const dir = image.fs.inode(directories[step % directories.length].ino);
      if (step % 10 === 3) {
        directories.push(make(image, dir, `d${step}`, DIRECTORY));
      } else {
        make(image, dir, `f${step}`);
        files.push([dir.ino, `f${step}`]);
      }
      if (step % 4 === 0 && files.length > 3) {
        const [ino, name] = files.splice(step % files.length, 1)[0];
        remove(image, image.fs.inode(ino), name);
      }
      if (step % 50 === 49) image.fs.commitNow();
    }
    image.close();
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
    const [lastDir, lastName] = files[files.length - 1];
    expect(debugfs(path, `ls <${lastDir}>`)).toContain(lastName);
  });

  it('uses up every inode, and says ENOSPC then', () => {
    const path = directory.make(8 * MIB, ['-b', '1024', '-N', '256', '-g', '2048', '-O', '^resize_inode,^has_journal']);
    const image = new WritableImage(path);
    const dir = make(image, image.root, 'd', DIRECTORY);
    const free = Number(dumpe2fs(path).get('Free inodes')) - 1;
    for (let count = 0; count < free; count++) make(image, dir, `f${count}`);
    expect(() => make(image, dir, 'more')).toThrow(expect.objectContaining({ errno: Errno.ENOSPC }));
    remove(image, dir, 'f7');
    make(image, dir, 'more');
    image.close();
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
    expect(dumpe2fs(path).get('Free inodes')).toBe('0');
  });

  it('that is cancelled leaves nothing behind', () => {
    const path = directory.make(64 * MIB, ['-b', '1024', '-g', '2048', '-O', '^resize_inode']);
    const image = new WritableImage(path);
    const fs = image.begin();
    const before = fs.inodeAllocator.allocate.bind(fs.inodeAllocator);
    const numbers: number[] = [];
    const attempt = (): void =>
      atomically(fs.handle, () => {
        for (let count = 0; count < 5; count++) numbers.push(before(image.root, FileType.REGULAR).ino);
        throw new Error('no');
      });
    expect(attempt).toThrow('no');
    expect(attempt).toThrow('no');
    expect(numbers.slice(5)).toEqual(numbers.slice(0, 5));
    for (const ino of numbers) expect(() => fs.inode(ino)).toThrow(expect.objectContaining({ errno: Errno.ESTALE }));
    image.close();
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
  });

  it('gives a freed inode a time of deletion and a new one another generation', () => {
    const path = directory.make(64 * MIB, []);
    const image = new WritableImage(path);
    const first = make(image, image.root, 'a');
    const { ino, generation } = first;
    remove(image, image.root, 'a');
    image.fs.commitNow();
    expect(() => image.fs.inode(ino)).toThrow(expect.objectContaining({ errno: Errno.ESTALE }));
    image.close();
    image.save(path);
    expect(debugfs(path, `stat <${ino}>`)).toMatch(/Links: 0[\s\S]*dtime: 0x6b49d2/);
    const again = new WritableImage(path, { random: () => 0.5 });
    const second = make(again, again.root, 'b');
    expect(second.ino).toBe(ino);
    expect(second.generation).toBe(2 ** 31);
    expect(generation).not.toBe(2 ** 31);
    expect(second.dtime).toBe(0);
  });

  it('refuses to free what is free', () => {
    const image = new WritableImage(directory.make(64 * MIB, []));
    const file = make(image, image.root, 'a');
    const fs = image.begin();
    const twice = (): void =>
      atomically(fs.handle, () => {
        fs.inodeAllocator.free(file);
        fs.inodeAllocator.free(file);
      });
    expect(twice).toThrow('free already');
    expect(fs.inode(file.ino).linksCount).toBe(1);
  });
});

describe('a new inode', () => {
  it('has what its directory hands down, by type', () => {
    const path = directory.make(64 * MIB, ['-O', 'project']);
    const image = new WritableImage(path);
    const parent = make(image, image.root, 'parent', DIRECTORY);
    const all =
      InodeFlag.SYNC |
      InodeFlag.NODUMP |
      InodeFlag.NOATIME |
      InodeFlag.DIRSYNC |
      InodeFlag.TOPDIR |
      InodeFlag.PROJINHERIT |
      InodeFlag.APPEND;
    atomically(image.begin().handle, () => {
      image.fs.inodes.modify(parent);
      parent.flags |= all;
      parent.projectId = 77;
      parent.gid = 1234;
      parent.mode |= 0o2000;
    });
    const fs = image.begin(500, 600);
    const children = [DIRECTORY, FileType.REGULAR | 0o644, FileType.FIFO | 0o644].map((mode) =>
      atomically(fs.handle, () => {
        const child = fs.inodeAllocator.allocate(parent, mode);
        return { mode: child.mode, flags: child.flags, uid: child.uid, gid: child.gid, project: child.projectId };
      }),
    );
    const { EXTENTS, SYNC, NODUMP, NOATIME, DIRSYNC, PROJINHERIT } = InodeFlag;
    const owner = { uid: 500, gid: 1234, project: 77 };
    expect(children).toEqual([
      { mode: DIRECTORY | 0o2000, flags: EXTENTS | SYNC | NODUMP | NOATIME | DIRSYNC | PROJINHERIT, ...owner },
      { mode: FileType.REGULAR | 0o644, flags: EXTENTS | SYNC | NODUMP | NOATIME, ...owner },
      { mode: FileType.FIFO | 0o644, flags: NODUMP | NOATIME, ...owner },
    ]);
  });

  it('belongs to the group of its maker, or with the option to that of its directory', () => {
    for (const groupOfParent of [false, true]) {
      const image = new WritableImage(directory.make(64 * MIB, []), { groupOfParent });
      const parent = make(image, image.root, 'parent', DIRECTORY);
      atomically(image.begin().handle, () => {
        image.fs.inodes.modify(parent);
        parent.gid = 1234;
      });
      const fs = image.begin(500, 600);
      const name = bytesOf('child');
      const child = fs.makeDirectory(parent, name, 0, name.length, 0o755, 0);
      expect([child.gid, child.mode & 0o2000]).toEqual([groupOfParent ? 1234 : 600, 0]);
    }
  });
});

describe('the place of a new inode', () => {
  const args = ['-b', '1024', '-g', '2048', '-O', '^resize_inode,^has_journal', '-N', '4096'];

  it('is near its directory for files, and anywhere for directories at the top', () => {
    for (const flex of [[], ['-O', '^flex_bg,^resize_inode,^has_journal']]) {
      const image = new WritableImage(directory.make(64 * MIB, [...args, ...flex]));
      const groups = new Set<number>();
      const span = image.fs.geometry.groupsPerFlex;
      for (let count = 0; count < 12; count++) {
        const dir = make(image, image.root, `d${count}`, DIRECTORY);
        const home = Math.floor(groupOf(image, dir) / span);
        groups.add(home);
        const file = make(image, dir, 'f');
        expect(Math.floor(groupOf(image, file) / span)).toBe(home);
        const below = make(image, dir, 'below', DIRECTORY);
        expect(Math.floor(groupOf(image, below) / span)).toBe(home);
      }
      expect(groups.size).toBeGreaterThan(flex.length === 0 ? 1 : 8);
    }
  });

  it('is in another group when the directory has none left', () => {
    for (const flex of [
      ['-G', '2'],
      ['-O', '^flex_bg,^resize_inode,^has_journal'],
    ]) {
      const path = directory.make(64 * MIB, [...args, ...flex]);
      const image = new WritableImage(path);
      const dir = make(image, image.root, 'd', DIRECTORY);
      const { inodesPerGroup, groupsPerFlex } = image.fs.geometry;
      const used = new Map<number, number>();
      for (let count = 0; count < 3 * inodesPerGroup * groupsPerFlex; count++) {
        const group = groupOf(image, make(image, image.fs.inode(dir.ino), `f${count}`));
        used.set(group, (used.get(group) ?? 0) + 1);
      }
      expect(used.size).toBeGreaterThan(2);
      expect(Math.max(...used.values())).toBeLessThanOrEqual(inodesPerGroup);
      image.close();
      image.save(path);
      expect(e2fsckComplaints(path)).toBe('');
    }
  });
});

describe('a bad inode bitmap', () => {
  it('takes its group out of use, once told, and no more', () => {
    const path = directory.make(64 * MIB, ['-b', '1024', '-g', '2048', '-O', '^resize_inode,^has_journal']);
    const good = new WritableImage(path);
    const dir = make(good, good.root, 'd', DIRECTORY);
    make(good, dir, 'f');
    good.close();
    good.save(path);
    const group = groupOf(good, dir);
    const bitmap = inodeBitmapOf(path, group);
    e2fsprogs('debugfs', ['-w', '-R', `zap_block -o 10 -l 1 -p 0x55 ${bitmap}`, path]);
    const reports: (CorruptionError | DeviceError)[] = [];
    const image = new WritableImage(path, { report: (error) => reports.push(error) });
    for (let count = 0; count < 5; count++) {
      expect(groupOf(image, make(image, image.fs.inode(dir.ino), `new${count}`))).not.toBe(group);
    }
    expect(reports.map((error) => error.message)).toEqual([expect.stringContaining(`group ${group}: bad checksum`)]);
  });

  it('that has fewer free inodes than its descriptor says is not searched again', () => {
    const path = directory.make(16 * MIB, ['-b', '1024', '-O', '^metadata_csum,^uninit_bg,^has_journal,^resize_inode']);
    debugfsWrite(path, ['set_bg 0 free_inodes_count 5000']);
    const probe = new WritableImage(path);
    const { inodesPerGroup } = probe.fs.geometry;
    const bitmap = inodeBitmapOf(path, 0);
    probe.bytes.fill(0xff, bitmap * 1024, bitmap * 1024 + inodesPerGroup / 8);
    sealSuperblock(probe.bytes);
    probe.save(path);
    const reports: (CorruptionError | DeviceError)[] = [];
    const image = new WritableImage(path, { report: (error) => reports.push(error) });
    expect(groupOf(image, make(image, image.root, 'a'))).toBe(1);
    expect(groupOf(image, make(image, image.root, 'b'))).toBe(1);
    expect(reports.length).toBe(1);
    expect(reports[0].message).toContain('all inodes are in use');
  });
});
