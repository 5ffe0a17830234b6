import type { Filesystem } from '../../service/ext4/filesystem.ts';
import type { Inode } from '../../service/ext4/inode.ts';
import { ENTRY_OUT, Opcode } from '../../service/fuse/abi.ts';
import { Session } from '../../service/fuse/session.ts';
import type { DataReader } from '../../service/ops/engine.ts';
import { ReadOnlyOperations } from '../../service/ops/read-only-operations.ts';
import { openBytes } from './ext4-image.ts';
import type { FuseReply } from './fuse-client.ts';
import { cString, FakeChannel, FuseClient, READ_ONLY_WISHES } from './fuse-client.ts';
import { RecordingLog } from './fuse-operations.ts';

/** Remembers what was asked of the data path; `available` is its answer. */
export class RecordingDataReader implements DataReader {
  waitForReads(): void {}

  readonly reads: { ino: number; offsetBytes: number; sizeBytes: number; uniqueLow: number }[] = [];
  available = true;

  read(inode: Inode, offsetBytes: number, sizeBytes: number, uniqueLow: number): boolean {
    this.reads.push({ ino: inode.ino, offsetBytes, sizeBytes, uniqueLow });
    return this.available;
  }
}

export interface MountedImage {
  readonly filesystem: Filesystem;
  readonly client: FuseClient;
  readonly data: RecordingDataReader;
  readonly log: RecordingLog;
  /** Node id of a path, each component looked up. */
  walk(path: string): number;
}

/** The image behind a session, after INIT with everything that a kernel offers. */
export function mountBytes(bytes: Uint8Array, flags?: number, posixAcl = true): MountedImage {
  const filesystem = openBytes(bytes);
  const log = new RecordingLog();
  const data = new RecordingDataReader();
  const operations = new ReadOnlyOperations(filesystem, data, {
    posixAcl,
    minixDf: false,
    statistics: () => new Uint8Array(0),
    warn: (text) => log.limitedError(text),
  });
  const channel = new FakeChannel();
  void new Session(channel, operations, {
    ...READ_ONLY_WISHES,
    posixAcl,
    trace: false,
    log,
  }).serve();
  const client = new FuseClient(channel);
  client.init(45, flags);
  const walk = (path: string): number =>
    path
      .split('/')
      .filter((component) => component !== '')
      .reduce((nodeId, component) => nodeIdIn(client.call(Opcode.LOOKUP, nodeId, cString(component))), 1);
  return { filesystem, client, data, log, walk };
}

export function nodeIdIn(entry: FuseReply): number {
  if (entry.errno !== 0) throw new Error(`LOOKUP failed with errno ${entry.errno}`);
  return Number(entry.view.getBigUint64(ENTRY_OUT.nodeid, true));
}

export interface ListedEntry {
  readonly name: string;
  readonly ino: number;
  readonly type: number;
  readonly next: bigint;
  /** READDIRPLUS only. */
  readonly nodeId: number;
  readonly mode: number;
}

/** Takes a READDIR or READDIRPLUS payload apart. */
export function parseDirectory(reply: FuseReply, plus: boolean): ListedEntry[] {
  const entries: ListedEntry[] = [];
  const { payload, view } = reply;
  const head = plus ? ENTRY_OUT.SIZE : 0;
  for (let at = 0; at < payload.length; ) {
    const dirent = at + head;
    const nameBytes = view.getUint32(dirent + 16, true);
    entries.push({
      name: new TextDecoder().decode(payload.subarray(dirent + 24, dirent + 24 + nameBytes)),
      ino: Number(view.getBigUint64(dirent, true)),
      type: view.getUint32(dirent + 20, true),
      next: view.getBigUint64(dirent + 8, true),
      nodeId: plus ? Number(view.getBigUint64(at, true)) : 0,
      mode: plus ? view.getUint32(at + ENTRY_OUT.attr + 60, true) : 0,
    });
    at = (dirent + 24 + nameBytes + 7) & ~7;
    if (at > payload.length) throw new Error('a directory entry leads past the end of the reply');
  }
  return entries;
}
