import type { Inode } from '../../service/ext4/inode.ts';
import { FileType } from '../../service/ext4/layout/inode.ts';
import { bytesOf, type WritableImage } from './writable-image.ts';

const SUPERBLOCK = 1024;
const LAST_ORPHAN = SUPERBLOCK + 0xe8;
const DTIME = 0x14;
const ENTRIES_END = 8;

/** Regular files `f0`, `f1`... in the root directory. */
export function makeFiles(image: WritableImage, count: number): Inode[] {
  const files: Inode[] = [];
  for (let index = 0; index < count; index++) {
    const name = bytesOf(`f${index}`);
    files.push(image.begin().createNode(image.root, name, 0, name.length, FileType.REGULAR | 0o644, 0, 0, 0));
  }
  return files;
}

const placeOf = (image: WritableImage, ino: number): number => {
  const { tableBlock, tableOffset } = image.fs.inode(ino);
  return tableBlock * image.fs.blockSize + tableOffset;
};

const viewOf = (image: WritableImage): DataView =>
  new DataView(image.bytes.buffer, image.bytes.byteOffset, image.bytes.byteLength);

/** The orphan list as it is on disk, where `files` may be on it. For an image whose changes were brought home. */
export function listOnDisk(image: WritableImage, files: readonly Inode[]): number[] {
  const view = viewOf(image);
  const places = new Map(files.map(({ ino }) => [ino, placeOf(image, ino)]));
  const found: number[] = [];
  for (let ino = view.getUint32(LAST_ORPHAN, true); ino !== 0; ) {
    found.push(ino);
    const place = places.get(ino);
    if (place === undefined || found.length > files.length) throw new Error(`the list goes on: ${found}`);
    ino = view.getUint32(place + DTIME, true);
  }
  return found;
}

/** The inodes that the orphan file's blocks name on disk. */
export function orphanFileOnDisk(image: WritableImage): number[] {
  const { fs } = image;
  const file = fs.inode(fs.superblock.orphanFileInode);
  const view = viewOf(image);
  const found: number[] = [];
  for (let lblk = 0; lblk * fs.blockSize < file.sizeBytes; lblk++) {
    const block = fs.fileBlock(file, lblk);
    if (block === null) continue;
    for (let at = 0; at < fs.blockSize - ENTRIES_END; at += 4) {
      const ino = view.getUint32(block.blockNr * fs.blockSize + at, true);
      if (ino !== 0) found.push(ino);
    }
  }
  return found;
}
