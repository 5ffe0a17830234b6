import { Errno } from '../../shared/errno.ts';
import type { DirectorySink } from '../ext4/directory-sink.ts';
import { CorruptionError, DeviceError, FsError } from '../ext4/errors.ts';
import type { Inode } from '../ext4/inode.ts';
import { DirentType, READ_IN } from '../fuse/abi.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { Engine } from './engine.ts';
import { isDot, isDotDot } from './lookup.ts';
import { inodeOf, type NodeReferences, namedInode, nodeIdOf } from './nodes.ts';

/** What readdir(3) calls the types that ext4's directory entries give. */
const DIRENT_TYPES: readonly number[] = Object.freeze([
  DirentType.UNKNOWN,
  DirentType.REGULAR,
  DirentType.DIRECTORY,
  DirentType.CHARACTER,
  DirentType.BLOCK,
  DirentType.FIFO,
  DirentType.SOCKET,
  DirentType.SYMLINK,
]);

/** The d_type that belongs to the file type bits of a mode: they are the same, four bits wide, at bit 12. */
const direntTypeOfMode = (mode: number): number => mode >>> 12;

/** READDIR and READDIRPLUS: copies entries from the engine into the reply until one of them is at its end. */
export class DirectoryReader {
  readonly #engine: Engine;
  readonly #references: NodeReferences;
  readonly #warn: (text: string) => void;
  readonly #plainSink: DirectorySink;
  readonly #plusSink: DirectorySink;
  #reply: Reply | null = null;
  #directory: Inode | null = null;
  #full = false;

  /** `warn` takes one line about each inode that can't be shown. */
  constructor(engine: Engine, references: NodeReferences, warn: (text: string) => void) {
    this.#engine = engine;
    this.#references = references;
    this.#warn = warn;
    this.#plainSink = {
      entry: (ino, fileType, bytes, start, end, nextHigh, nextLow) =>
        this.#addPlain(ino, fileType, bytes, start, end, nextHigh, nextLow),
    };
    this.#plusSink = {
      entry: (ino, fileType, bytes, start, end, nextHigh, nextLow) =>
        this.#addPlus(ino, fileType, bytes, start, end, nextHigh, nextLow),
    };
  }

  readdir(request: Request, reply: Reply): number {
    return this.#read(request, reply, this.#plainSink);
  }

  readdirplus(request: Request, reply: Reply): number {
    return this.#read(request, reply, this.#plusSink);
  }

  #read(request: Request, reply: Reply, sink: DirectorySink): number {
    const directory = inodeOf(this.#engine, request.nodeId);
    if (!directory.isDirectory) return Errno.ENOTDIR;
    reply.beginDirectory(request.u32(READ_IN.size));
    this.#reply = reply;
    this.#directory = directory;
    this.#full = false;
    try {
      this.#engine.readDirectory(directory, request.u64High(READ_IN.offset), request.u64Low(READ_IN.offset), sink);
    } catch (error) {
      // What was read before the damage is shown; the next request starts at the damage and reports it.
      if (reply.payloadBytes === 0 || !(error instanceof CorruptionError)) throw error;
    }
    // An empty answer would mean the end of the directory.
    return this.#full && reply.payloadBytes === 0 ? Errno.EINVAL : Errno.OK;
  }

  #addPlain(
    ino: number,
    fileType: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    nextHigh: number,
    nextLow: number,
  ): boolean {
    const type = DIRENT_TYPES[fileType];
    this.#full = this.#reply?.dirent(ino, type, bytes, start, end, nextHigh, nextLow) !== true;
    return !this.#full;
  }

  #addPlus(
    ino: number,
    fileType: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    nextHigh: number,
    nextLow: number,
  ): boolean {
    const reply = this.#reply;
    if (reply === null || !reply.hasRoomForDirentPlus(end - start)) {
      this.#full = true;
      return false;
    }
    // The kernel knows "." and ".." already, and would count a second reference to them.
    const inode = isDot(bytes, start, end) || isDotDot(bytes, start, end) ? null : this.#inodeToShow(ino);
    const nodeId = inode === null ? 0 : nodeIdOf(ino);
    const type = inode === null ? DIRENT_TYPES[fileType] : direntTypeOfMode(inode.mode);
    reply.direntPlus(nodeId, inode, this.#engine.blockSize, ino, type, bytes, start, end, nextHigh, nextLow);
    if (inode !== null) this.#references.add(nodeId);
    return true;
  }

  /** Null for an inode that can't be read: its name is listed all the same, and stat(2) of it will say why. */
  #inodeToShow(ino: number): Inode | null {
    const directory = this.#directory;
    if (directory === null) return null;
    try {
      return namedInode(this.#engine, ino, directory);
    } catch (error) {
      if (!(error instanceof CorruptionError || error instanceof DeviceError || error instanceof FsError)) throw error;
      this.#warn(`listing inode ${directory.ino}: ${error.message}`);
      return null;
    }
  }
}
