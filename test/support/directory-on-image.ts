/** Directories on real images, with many names for few inodes, and what a judge should find in them. */
import type { Inode } from '../../service/ext4/inode.ts';
import { Collector, hexOf } from './directory-builder.ts';
import { bytesOf, type WritableImage } from './writable-image.ts';

/** A directory with hard links of one file, changed through the engine and remembered. */
export class DirectoryOnImage {
  readonly image: WritableImage;
  readonly path: string;
  readonly names: Set<string>;

  /** Makes the directory `path` in the root, with the file that its names will lead to. */
  static make(image: WritableImage, path: string): DirectoryOnImage {
    const fs = image.begin();
    const name = bytesOf(path);
    const dir = fs.makeDirectory(image.root, name, 0, name.length, 0o755, 0);
    const file = bytesOf('file');
    fs.createNode(dir, file, 0, file.length, 0o100644, 0, 0, 0);
    return new DirectoryOnImage(image, path, new Set(['file']));
  }

  /** `names` are those that the directory has. */
  constructor(image: WritableImage, path: string, names: Set<string>) {
    this.image = image;
    this.path = path;
    this.names = names;
  }

  get dir(): Inode {
    const name = bytesOf(this.path);
    return this.image.fs.inode(this.image.fs.lookup(this.image.root, name, 0, name.length));
  }

  add(name: string): void {
    const fs = this.image.begin();
    const bytes = bytesOf(name);
    const file = fs.inode(fs.lookup(this.dir, bytesOf('file'), 0, 4));
    fs.link(file, this.dir, bytes, 0, bytes.length);
    this.names.add(name);
  }

  remove(name: string): void {
    const fs = this.image.begin();
    const bytes = bytesOf(name);
    fs.evict(fs.unlink(this.dir, bytes, 0, bytes.length).ino);
    this.names.delete(name);
  }

  /** The names that a listing of the directory delivers, without "." and "..", in hexadecimal digits. */
  listed(): string[] {
    const sink = new Collector(2 ** 31);
    this.image.begin();
    this.image.fs.readDirectory(this.dir, 0, 0, sink);
    return sink.entries.map(({ name }) => name).filter((name) => name !== '2e' && name !== '2e2e');
  }

  isFound(name: string): boolean {
    const bytes = bytesOf(name);
    return this.image.fs.lookup(this.dir, bytes, 0, bytes.length) !== 0;
  }

  get wanted(): string[] {
    return [...this.names].map((name) => hexOf(bytesOf(name))).sort();
  }
}
