import { createHash } from 'node:crypto';
import type { Filesystem } from '../../service/ext4/filesystem.ts';
import type { Inode } from '../../service/ext4/inode.ts';
import { InodeFlag } from '../../service/ext4/layout/inode.ts';

/** What a user could see of one inode. */
export interface LogicalInode {
  readonly ino: number;
  /** Everything but data, as one comparable text. */
  readonly attributes: string;
  readonly data: Uint8Array;
}

/** What a user could see of a file system: inodes by path. */
export type LogicalState = ReadonlyMap<string, LogicalInode>;

const NO_DATA = new Uint8Array(0);

export function captureState(fs: Filesystem): LogicalState {
  const state = new Map<string, LogicalInode>();
  const seen = new Map<number, LogicalInode>();
  const pending: [string, number][] = [['', 2]];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [path, ino] = next;
    const known = seen.get(ino);
    if (known !== undefined) {
      state.set(path, known);
      continue;
    }
    const inode = fs.inode(ino);
    const logical = captureInode(fs, inode);
    seen.set(ino, logical);
    state.set(path, logical);
    if (inode.isDirectory) for (const [name, child] of entriesOf(fs, inode)) pending.push([`${path}/${name}`, child]);
  }
  return state;
}

function captureInode(fs: Filesystem, inode: Inode): LogicalInode {
  const names = Buffer.from(fs.listXattrs(inode)).toString('latin1').split('\0').slice(0, -1).sort();
  const xattrs = names.map((name) => {
    const value = fs.getXattr(inode, Buffer.from(name, 'latin1')) ?? NO_DATA;
    return `${name}=${value.length < 40 ? Buffer.from(value).toString('hex') : digest(value)}`;
  });
  const { mode, uid, gid, linksCount, flags, projectId, rdevMajor, rdevMinor, mtimeSec } = inode;
  // How the data is kept may change without anybody seeing it; a directory's size likewise.
  const visibleFlags = (flags & ~(InodeFlag.INLINE_DATA | InodeFlag.EXTENTS | InodeFlag.INDEX)) >>> 0;
  const size = inode.isDirectory ? 0 : inode.sizeBytes;
  const target = inode.isSymlink ? Buffer.from(fs.readLink(inode)).toString('latin1') : '';
  const numbers = [mode, uid, gid, linksCount, visibleFlags, projectId, rdevMajor, rdevMinor, mtimeSec, size];
  return { ino: inode.ino, attributes: `${numbers.join(' ')} ${target} ${xattrs.join(' ')}`, data: dataOf(fs, inode) };
}

function dataOf(fs: Filesystem, inode: Inode): Uint8Array {
  if (!inode.isRegular) return NO_DATA;
  const data = new Uint8Array(inode.sizeBytes);
  fs.readFile(inode, 0, data);
  return data;
}

function entriesOf(fs: Filesystem, dir: Inode): [string, number][] {
  const entries: [string, number][] = [];
  fs.readDirectory(dir, 0, 0, {
    entry: (ino, _type, bytes, start, end) => {
      const name = Buffer.from(bytes.subarray(start, end)).toString('latin1');
      if (name !== '.' && name !== '..') entries.push([name, ino]);
      return true;
    },
  });
  return entries;
}

const digest = (bytes: Uint8Array): string => createHash('sha1').update(bytes).digest('hex');

/** The first difference but for data, '' when there is none. */
export function attributeDifference(a: LogicalState, b: LogicalState): string {
  for (const [path, inode] of a) {
    const other = b.get(path);
    if (other === undefined) return `${path || '/'} is missing`;
    if (other.ino !== inode.ino) return `${path} is inode ${other.ino} instead of ${inode.ino}`;
    if (other.attributes !== inode.attributes)
      return `${path || '/'}: ${other.attributes} instead of ${inode.attributes}`;
  }
  for (const path of b.keys()) if (!a.has(path)) return `${path} is new`;
  return '';
}
