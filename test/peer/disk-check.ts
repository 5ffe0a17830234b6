import { closeSync, openSync, readSync } from 'node:fs';
import { e2fsprogs } from '../support/e2fsprogs.ts';
import type { Ledger } from './ledger.ts';
import { Violation } from './violation.ts';

/** Where debugfs finds the blocks of a file. */
interface FoundFile {
  readonly sizeBytes: number;
  /** File block to device block, without those that are unwritten. */
  readonly written: ReadonlyMap<number, number>;
}

const COMMAND = /^debugfs: stat <(\d+)>$/m;
/** "(12-68):1604-1660", "(5[u]):77", the [u] for unwritten; blocks of the map itself have a word for a number. */
const RUN = /\((\d+)(?:-(\d+))?(\[u\])?\):(\d+)/g;

/** Asks debugfs, which shares no code with the server. */
function findFiles(image: string, nodeIds: readonly number[]): Map<number, FoundFile> {
  const commands = nodeIds.map((nodeId) => `stat <${nodeId}>\n`).join('');
  const [, ...parts] = e2fsprogs('debugfs', ['-f', '-', image], commands).split(COMMAND);
  const found = new Map<number, FoundFile>();
  for (let at = 0; at + 1 < parts.length; at += 2) found.set(Number(parts[at]), foundFile(parts[at + 1]));
  return found;
}

function foundFile(text: string): FoundFile {
  const size = / Size: (\d+)$/m.exec(text);
  if (size === null) throw new Error(`debugfs tells no size: ${text}`);
  const written = new Map<number, number>();
  const mapAt = text.search(/^(EXTENTS|BLOCKS):$/m);
  for (const [, first, last = first, unwritten, device] of mapAt < 0 ? [] : text.slice(mapAt).matchAll(RUN)) {
    if (unwritten !== undefined) continue;
    for (let block = Number(first); block <= Number(last); block++) {
      written.set(block, Number(device) + block - Number(first));
    }
  }
  return { sizeBytes: Number(size[1]), written };
}

/**
 * Compares files of a disk that nobody has mounted with what the server has said of them: their blocks are where the
 * kernel was told (B-5), none is written behind the end (B-6), and the last one is zero from there on (D-4).
 */
export function checkOnDisk(image: string, blockBytes: number, nodeIds: readonly number[], ledger: Ledger): void {
  const files = findFiles(image, nodeIds);
  const fd = openSync(image, 'r');
  try {
    for (const nodeId of nodeIds) {
      const file = files.get(nodeId);
      if (file === undefined) throw new Error(`debugfs says nothing of inode ${nodeId}`);
      for (const [block, device] of ledger.writtenBlocks(nodeId)) {
        const there = file.written.get(block);
        if (there === device) continue;
        const what = there === undefined ? 'not written' : `device block ${there}`;
        throw new Violation('B-5', `block ${block} of inode ${nodeId} is ${what}, the kernel was told ${device}`);
      }
      checkEnd(fd, blockBytes, nodeId, file);
    }
  } finally {
    closeSync(fd);
  }
}

function checkEnd(fd: number, blockBytes: number, nodeId: number, { sizeBytes, written }: FoundFile): void {
  const endBlock = Math.ceil(sizeBytes / blockBytes);
  for (const block of written.keys()) {
    if (block < endBlock) continue;
    throw new Violation('B-6', `block ${block} of inode ${nodeId} is written, the file has ${sizeBytes} bytes`);
  }
  const within = sizeBytes % blockBytes;
  const device = written.get(endBlock - 1);
  if (within === 0 || device === undefined) return;
  const bytes = new Uint8Array(blockBytes);
  readSync(fd, bytes, 0, blockBytes, device * blockBytes);
  const at = bytes.findIndex((byte, index) => index >= within && byte !== 0);
  if (at >= 0) {
    throw new Violation('D-4', `inode ${nodeId} has ${sizeBytes} bytes, byte ${at} of its last block is ${bytes[at]}`);
  }
}
