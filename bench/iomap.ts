// What the service's side of the kernel's own file I/O costs, with a socket in place of /dev/fuse: round trips, the
// processor time of the service for each request, and how many requests a long write takes.
// Usage: npm run bench:iomap
import { readdirSync, readFileSync } from 'node:fs';
import { CONFIGURATIONS, machineFor } from '../test/peer/configurations.ts';
import { runAlone } from '../test/peer/connection.ts';
import { FallocateMode } from '../test/peer/file-size.ts';
import type { Machine } from '../test/peer/machine.ts';
import type { PeerInode } from '../test/peer/peer-inode.ts';
import type { PeerKernel } from '../test/peer/peer-kernel.ts';
import { IoendFlag, OpFlag } from '../test/peer/profile.ts';
import { Op } from '../test/peer/wire.ts';
import { Prng } from '../test/support/prng.ts';
import { type RawRequest, RequestStream } from './request-stream.ts';

const KIB = 1024;
const MIB = 2 ** 20;
const BLOCK_BYTES = 4 * KIB;
const FILE_BYTES = 64 * MIB;
/** So many are sent before the first reply is read. */
const DEPTH = 32;
const WARM_UP = 5_000;
const REQUESTS = 40_000;
const STREAM_MIBS = 1024;
/** A kernel writes back while the program goes on. */
const WRITEBACK_MIBS = 16;

/** Nanoseconds that all threads of a process have run. */
function processorNs(pid: number): number {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]);
  }
  return sum;
}

function opened(kernel: PeerKernel, name: string): PeerInode {
  const inode = kernel.create(kernel.rootNodeId, name);
  if (typeof inode === 'number') throw new Error(`MKNOD of ${name}: ${inode}`);
  if (kernel.open(inode) !== 0) throw new Error(`OPEN of ${name}`);
  return inode;
}

function require0(what: string, errno: number): void {
  if (errno !== 0) throw new Error(`${what}: errno ${errno}`);
}

class Measures {
  readonly #machine: Machine;
  readonly #stream: RequestStream;

  constructor(machine: Machine, kernel: PeerKernel) {
    this.#machine = machine;
    this.#stream = new RequestStream(kernel.connection.ends);
  }

  /** One row: round trips of single requests, processor time of single ones and of many in a row. */
  row(name: string, request: (index: number) => RawRequest, warmUp = WARM_UP, requests = REQUESTS): void {
    const stream = this.#stream;
    for (let index = 0; index < warmUp; index++) stream.roundTrip(request(index));
    const times = new Float64Array(requests);
    let before = processorNs(this.#machine.pid);
    for (let index = 0; index < requests; index++) {
      const start = process.hrtime.bigint();
      stream.roundTrip(request(warmUp + index));
      times[index] = Number(process.hrtime.bigint() - start) / 1000;
    }
    const single = (processorNs(this.#machine.pid) - before) / 1000 / requests;
    before = processorNs(this.#machine.pid);
    for (let index = 0; index < requests; index += DEPTH) {
      stream.roundTrips(Array.from({ length: DEPTH }, (_, at) => request(warmUp + requests + index + at)));
    }
    const inRow = (processorNs(this.#machine.pid) - before) / 1000 / requests;
    times.sort();
    const cells = [name, times[requests >> 1].toFixed(1), single.toFixed(1), inRow.toFixed(1)];
    console.log(`| ${cells.join(' | ')} | ${Math.round(1e6 / inRow)} |`);
  }
}

function fragmented(kernel: PeerKernel): PeerInode {
  const inode = opened(kernel, 'fragmented');
  require0('allocation', runAlone(kernel.fallocate(inode, 0, 0, FILE_BYTES)));
  const mode = FallocateMode.PUNCH_HOLE | FallocateMode.KEEP_SIZE;
  for (let pos = 0; pos < FILE_BYTES; pos += 64 * KIB) {
    require0('punch', runAlone(kernel.fallocate(inode, mode, pos, BLOCK_BYTES)));
  }
  return inode;
}

function measure(machine: Machine, kernel: PeerKernel): void {
  const measures = new Measures(machine, kernel);
  const random = new Prng(1);
  const somewhere = (): number => random.below(FILE_BYTES / BLOCK_BYTES) * BLOCK_BYTES;
  const begin =
    (inode: PeerInode, flags: number): ((index: number) => RawRequest) =>
    () => ({ opcode: Op.IOMAP_BEGIN, inode, flags, pos: somewhere(), bytes: BLOCK_BYTES });
  const plain = opened(kernel, 'plain');
  require0('allocation', runAlone(kernel.fallocate(plain, 0, 0, FILE_BYTES)));
  const pieces = fragmented(kernel);

  console.log('| request | round trip p50, us | service CPU, one by one, us | in a row, us | per core and second |');
  console.log('|---|---|---|---|---|');
  measures.row('BEGIN(REPORT), one extent', begin(plain, OpFlag.REPORT));
  measures.row('BEGIN(REPORT), 1,024 extents', begin(pieces, OpFlag.REPORT));
  measures.row('BEGIN(read), by way of the mapping cache', begin(pieces, 0));
  measures.row('BEGIN(direct write), by way of the mapping cache', begin(plain, OpFlag.DIRECT | OpFlag.WRITE));
  const ahead = opened(kernel, 'ahead');
  require0('allocation', runAlone(kernel.fallocate(ahead, FallocateMode.KEEP_SIZE, 0, 1024 * MIB)));
  const append = IoendFlag.WRITEBACK | IoendFlag.UNWRITTEN | IoendFlag.APPEND;
  measures.row('IOEND of the next 4 KiB of an append', (index) => ({
    opcode: Op.IOMAP_IOEND,
    inode: ahead,
    flags: append,
    pos: index * BLOCK_BYTES,
    bytes: BLOCK_BYTES,
  }));
  const holes = opened(kernel, 'random');
  require0('allocation', runAlone(kernel.fallocate(holes, 0, 0, 512 * MIB)));
  measures.row('IOEND of 4 KiB somewhere, 512 MiB unwritten', () => ({
    opcode: Op.IOMAP_IOEND,
    inode: holes,
    flags: IoendFlag.DIRECT | IoendFlag.UNWRITTEN,
    pos: random.below((512 * MIB) / BLOCK_BYTES) * BLOCK_BYTES,
    bytes: BLOCK_BYTES,
  }));
}

function stream(kernel: PeerKernel): void {
  const inode = opened(kernel, 'stream');
  const piece = new Uint8Array(MIB).fill(0x5a);
  const { connection } = kernel;
  const before = [Op.IOMAP_BEGIN, Op.IOMAP_IOEND].map((opcode) => connection.count(opcode));
  for (let mib = 0; mib < STREAM_MIBS; mib++) {
    if (runAlone(kernel.write(inode, mib * MIB, piece)) !== MIB) throw new Error('a short write');
    if (mib % WRITEBACK_MIBS !== WRITEBACK_MIBS - 1) continue;
    runAlone(kernel.buffered.writeback.run(inode));
    kernel.shrink(() => 0, 1);
  }
  require0('fsync', runAlone(kernel.fsync(inode)));
  const [begins, ioends] = [Op.IOMAP_BEGIN, Op.IOMAP_IOEND].map((opcode, at) => connection.count(opcode) - before[at]);
  const asked = `${begins} BEGIN (at most ${STREAM_MIBS / 8}), ${ioends} IOEND (at most ${STREAM_MIBS / 4})`;
  console.log(`\n${STREAM_MIBS} MiB written: ${asked}`);
}

async function main(): Promise<void> {
  const machine = machineFor(CONFIGURATIONS[1], { sizeBytes: 4096 * MIB, options: 'commit=5' });
  try {
    const kernel = machine.start();
    measure(machine, kernel);
    stream(kernel);
  } finally {
    await machine.remove();
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
