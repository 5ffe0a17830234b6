import { afterAll, describe, expect, it } from 'vitest';
import { Inode } from '../../../service/ext4/inode.ts';
import { atomically } from '../../../service/ext4/journal/atomically.ts';
import { FileType, InodeFlag } from '../../../service/ext4/layout/inode.ts';
import { debugfs, dumpe2fs } from '../../support/e2fsprogs.ts';
import { ImageDirectory } from '../../support/ext4-image.ts';
import { bytesOf, e2fsckComplaints, WritableImage } from '../../support/writable-image.ts';

const MIB = 2 ** 20;
const directory = new ImageDirectory();
afterAll(() => directory.remove());

const kinds: [string, string[]][] = [
  ['128-byte inodes', ['-I', '128', '-O', '^metadata_csum']],
  ['128-byte inodes with checksums', ['-I', '128']],
  ['256-byte inodes', []],
  ['1024-byte inodes', ['-I', '1024']],
  ['256-byte inodes with 1 KiB blocks and project ids', ['-b', '1024', '-O', 'project']],
  ['ext2', ['-t', 'ext2', '-I', '128']],
  ['revision 0', ['-t', 'ext2', '-r', '0', '-O', 'none']],
  ['64 KiB blocks', ['-b', '65536']],
];

function newFile(image: WritableImage, name: string, mode = FileType.REGULAR | 0o644): Inode {
  const bytes = bytesOf(name);
  return image.begin().createNode(image.root, bytes, 0, bytes.length, mode, 0, 0, 0);
}

/** One field of what `debugfs stat` prints. */
function shown(path: string, ino: number, field: RegExp): string {
  const found = field.exec(debugfs(path, `stat <${ino}>`));
  return found === null ? '' : found[1];
}

/** All fields of an inode but where it is and what is only known in memory. */
function fieldsOf(inode: Inode): Record<string, unknown> {
  const memoryOnly = new Set(['changedIn', 'dataChangedIn', 'modifiedIn', 'overflowGroup']);
  return Object.fromEntries(Object.entries(inode).filter(([name]) => !memoryOnly.has(name)));
}

const make = (args: readonly string[]): string => directory.make(64 * MIB, args);

describe('a changed inode', () => {
  it.each(kinds)('is read back as it was written: %s', (_kind, args) => {
    const path = make(args);
    const image = new WritableImage(path);
    const file = newFile(image, 'file');
    const wide = file.extraSizeBytes > 0;
    const fs = image.begin();
    atomically(fs.handle, () => {
      fs.inodes.modify(file);
      file.mode = FileType.REGULAR | 0o4751;
      file.uid = 70_001;
      file.gid = 80_002;
      file.atimeSec = -86_400;
      file.atimeNsec = wide ? 1 : 0;
      file.mtimeSec = wide ? 13_569_465_600 : 2 ** 31 - 1;
      file.mtimeNsec = wide ? 999_999_999 : 0;
      file.ctimeSec = 1_800_000_500;
      file.ctimeNsec = wide ? 500_000_000 : 0;
      file.flags |= InodeFlag.NODUMP | InodeFlag.NOATIME;
      file.generation = 0xfedcba98;
    });
    const written = fieldsOf(file);
    image.close();
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
    const again = new WritableImage(path);
    expect(fieldsOf(again.fs.inode(file.ino))).toEqual(written);
    expect(shown(path, file.ino, /Generation: (\d+)/)).toBe(String(0xfedcba98));
    expect(shown(path, file.ino, /Mode: +(\d+)/)).toBe('04751');
    expect(shown(path, file.ino, /User: +(\d+)/)).toBe('70001');
    expect(shown(path, file.ino, /Group: +(\d+)/)).toBe('80002');
  });

  it('has its times clamped to what its record can hold, on disk and in memory', () => {
    for (const [args, max, nsec] of [
      [['-I', '128', '-O', '^metadata_csum'], 2 ** 31 - 1, 0],
      [[], 2 ** 34 - 1 - 2 ** 31, 77],
    ] as const) {
      const path = make(args);
      const image = new WritableImage(path);
      const file = newFile(image, 'file');
      atomically(image.begin().handle, () => {
        image.fs.inodes.modify(file);
        file.mtimeSec = 2 ** 40;
        file.mtimeNsec = 77;
        file.atimeSec = -(2 ** 40);
      });
      expect([file.mtimeSec, file.mtimeNsec, file.atimeSec]).toEqual([max, nsec, -(2 ** 31)]);
      image.reopen();
      const again = image.fs.inode(file.ino);
      expect([again.mtimeSec, again.mtimeNsec, again.atimeSec]).toEqual([max, nsec, -(2 ** 31)]);
    }
  });

  it('counts its version up when it was modified, and only then', () => {
    const path = make([]);
    const image = new WritableImage(path);
    const file = newFile(image, 'file');
    expect([file.versionHigh, file.versionLow]).toEqual([0, 1]);
    const change = (what: () => void): void => {
      atomically(image.begin().handle, () => {
        image.fs.inodes.modify(file);
        what();
      });
    };
    change(() => {
      file.atimeSec++;
    });
    expect(file.versionLow).toBe(1);
    change(() => {
      file.ctimeNsec++;
    });
    expect(file.versionLow).toBe(2);
    change(() => {
      file.versionLow = 0xffffffff;
      file.mtimeSec++;
    });
    expect([file.versionHigh, file.versionLow]).toEqual([1, 0]);
    image.close();
    image.save(path);
    expect(shown(path, file.ino, /Version: (0x[0-9a-f]+:[0-9a-f]+)/)).toBe('0x00000001:00000000');
  });

  it.each([
    ['small', 8, 17],
    ['large', 2000, 700_000],
    ['none', 0, 0],
  ])('holds device numbers: %s', (_kind, major, minor) => {
    const path = make([]);
    const image = new WritableImage(path);
    const name = bytesOf('device');
    const device = image.begin().createNode(image.root, name, 0, name.length, FileType.BLOCK | 0o600, 0, major, minor);
    image.close();
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
    expect(debugfs(path, `stat <${device.ino}>`)).toContain(
      `evice major/minor number: ${String(major).padStart(2, '0')}:${String(minor).padStart(2, '0')}`,
    );
    const again = new WritableImage(path).fs.inode(device.ino);
    expect([again.rdevMajor, again.rdevMinor]).toEqual([major, minor]);
    expect(again.hasFlag(InodeFlag.EXTENTS)).toBe(false);
  });

  it('counts blocks in units of 512 bytes, and in blocks where those units are too many', () => {
    const path = make([]);
    const image = new WritableImage(path);
    const file = newFile(image, 'file');
    const set = (units: number): void => {
      const changed = image.begin().inode(file.ino);
      atomically(image.fs.handle, () => {
        image.fs.inodes.modify(changed);
        changed.allocatedBlocks512 = units;
      });
      image.reopen();
      expect(image.fs.inode(file.ino).allocatedBlocks512).toBe(units);
    };
    set(2 ** 32 + 8);
    expect(image.fs.inode(file.ino).hasFlag(InodeFlag.HUGE_FILE)).toBe(false);
    set(2 ** 48 + 8);
    expect(image.fs.inode(file.ino).hasFlag(InodeFlag.HUGE_FILE)).toBe(true);
    set(8);
    expect(image.fs.inode(file.ino).hasFlag(InodeFlag.HUGE_FILE)).toBe(false);
  });

  it('of 2 GiB or more gives the file system the large_file feature, and revision 0 its fields', () => {
    const path = make(['-t', 'ext2', '-r', '0', '-O', 'none']);
    expect(dumpe2fs(path).get('Filesystem revision #')).toMatch(/^0 /);
    const image = new WritableImage(path);
    const file = newFile(image, 'file');
    atomically(image.begin().handle, () => {
      image.fs.inodes.modify(file);
      file.sizeBytes = 2 ** 31;
    });
    image.close();
    image.save(path);
    expect(dumpe2fs(path).get('Filesystem revision #')).toMatch(/^1 /);
    expect(dumpe2fs(path).get('Filesystem features')).toContain('large_file');
    expect(e2fsckComplaints(path)).toBe('');
    expect(new WritableImage(path).fs.inode(file.ino).sizeBytes).toBe(2 ** 31);
  });

  it('is as before when its handle is cancelled, for everybody who holds it', () => {
    const image = new WritableImage(make([]));
    const file = newFile(image, 'file');
    const before = fieldsOf(file);
    const fs = image.begin();
    const attempt = (): void =>
      atomically(fs.handle, () => {
        fs.inodes.modify(file);
        file.sizeBytes = 12345;
        file.uid = 7;
        throw new Error('no');
      });
    expect(attempt).toThrow('no');
    expect(fieldsOf(file)).toEqual(before);
    expect(fs.inode(file.ino)).toBe(file);
    image.reopen();
    expect(fieldsOf(image.fs.inode(file.ino))).toEqual(before);
  });

  it('stays one object while an operation goes on, whatever else is looked at', () => {
    const path = directory.make(256 * MIB, ['-N', '40000', '-b', '1024', '-O', '^metadata_csum,^uninit_bg']);
    const image = new WritableImage(path);
    const fs = image.begin();
    // Places in the table of remembered inodes repeat every 8192 numbers.
    const inodes: number[] = [];
    atomically(fs.handle, () => {
      for (let ino = 20; ino < 40000; ino += 8192) {
        const inode = fs.inodes.create(ino);
        inode.mode = FileType.REGULAR;
        inode.linksCount = 1;
        inodes.push(ino);
      }
    });
    const objects = inodes.map((ino) => fs.inode(ino));
    for (const [index, ino] of inodes.entries()) expect(fs.inode(ino)).toBe(objects[index]);
    atomically(fs.handle, () => {
      fs.inodes.modify(objects[0]);
      objects[0].sizeBytes = 99;
      for (const ino of inodes) fs.inode(ino);
      expect(fs.inode(inodes[0]).sizeBytes).toBe(99);
    });
    expect(fs.inode(inodes[0]).sizeBytes).toBe(99);
  });

  it('tells which transaction must be committed for it', () => {
    const image = new WritableImage(make([]));
    const file = newFile(image, 'file');
    const fs = image.begin();
    expect(fs.needsCommit(file, true)).toBe(true);
    fs.commitNow();
    expect(fs.needsCommit(file, false)).toBe(false);
    atomically(fs.handle, () => {
      fs.inodes.modifyTimes(file);
      file.atimeSec++;
    });
    expect([fs.needsCommit(file, true), fs.needsCommit(file, false)]).toEqual([false, true]);
    atomically(fs.handle, () => {
      fs.inodes.modify(file);
      file.sizeBytes = 1;
    });
    expect(fs.needsCommit(file, true)).toBe(true);
  });

  it('can not be changed outside a handle', () => {
    const image = new WritableImage(make([]));
    const file = newFile(image, 'file');
    expect(() => image.fs.inodes.modify(file)).toThrow('within a handle');
  });
});

describe('an inode object', () => {
  it('copies each of its fields but the number', () => {
    const from = new Inode(1);
    for (const name of Object.keys(from)) {
      if (name !== 'ino') Object.assign(from, { [name]: name === 'hasCrtime' ? true : name.length + 1000 });
    }
    const to = new Inode(2);
    to.copyFrom(from);
    expect({ ...to, ino: 1 }).toEqual({ ...from });
    expect(to.ino).toBe(2);
  });
});

describe("inodes that take each other's place in memory", () => {
  it('are not found as they were before they were deleted', () => {
    const image = new WritableImage(make(['-N', '16384', '-O', '^inline_data']));
    const mode = FileType.REGULAR | 0o644;
    const name = (text: string): [Uint8Array, number, number] => [bytesOf(text), 0, Buffer.byteLength(text)];
    const dir = image.begin().makeDirectory(image.root, ...name('dir'), 0o755, 0);
    let rival = dir;
    while (rival.ino < dir.ino + 8192) rival = newFile(image, `file ${rival.ino}`);
    const { ino } = rival;
    const both = () => [image.begin().inode(ino), image.fs.inode(dir.ino)];
    image.begin().rename(image.root, ...name(`file ${ino - 1}`), dir, ...name('rival'), 0);
    for (let round = 0; round < 20; round++) {
      // Each of these needs both inodes, by turns.
      for (let link = 0; link <= round; link++) {
        const [file, parent] = both();
        image.fs.link(file, parent, ...name('link'));
        image.begin().unlink(image.fs.inode(dir.ino), ...name('link'));
      }
      image.begin().unlink(image.fs.inode(dir.ino), ...name('rival'));
      image.begin().evict(ino);
      const again = image.begin().createNode(image.fs.inode(dir.ino), ...name('rival'), mode, 0, 0, 0);
      expect(again.ino).toBe(ino);
      image.begin().inode(dir.ino);
      expect(image.begin().inode(ino)).toBe(again);
    }
  });
});
