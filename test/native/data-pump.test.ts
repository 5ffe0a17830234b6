import { closeSync, constants, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { addon } from '../../native/addon.ts';
import { directIoAlignment } from '../../native/block-device.ts';
import { openDataPump } from '../../native/fuse-device.ts';
import { receivePacket, socketPair } from '../../native/seqpacket.ts';
import { i32ne, u32ne, u64ne, viewOf } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import { loopForTest } from './fixtures/loop.ts';
import { descriptorsLeaked, noise, scratchDirectory } from './fixtures/scratch.ts';

/** The pump writes its answers to any descriptor: here to a file opened for appending, and to a socket. */

const DEVICE_BYTES = 1 << 20;
const MAX_READ_BYTES = 1 << 20;
const HEADER_BYTES = 16;

interface Answer {
  readonly error: number;
  readonly data: Uint8Array;
}

/** The answers in a file of appended messages, by request number. */
function answersIn(path: string): Map<number, Answer> {
  const bytes = new Uint8Array(readFileSync(path));
  const view = viewOf(bytes);
  const answers = new Map<number, Answer>();
  for (let at = 0; at < bytes.length; at += u32ne(view, at)) {
    expect(u32ne(view, at)).toBeGreaterThanOrEqual(HEADER_BYTES);
    const unique = u64ne(view, at + 8);
    expect(answers.has(unique)).toBe(false);
    answers.set(unique, {
      error: 0 - i32ne(view, at + 4),
      data: bytes.subarray(at + HEADER_BYTES, at + u32ne(view, at)),
    });
  }
  return answers;
}

type Pair = readonly [deviceOffset: number, length: number];

function expected(content: Uint8Array, pairs: readonly Pair[]): Uint8Array {
  const parts = pairs.map(([offset, length]) =>
    offset === -1 ? new Uint8Array(length) : content.subarray(offset, offset + length),
  );
  return new Uint8Array(Buffer.concat(parts));
}

class PumpBench {
  readonly content = noise(DEVICE_BYTES, 11);
  readonly #directory = scratchDirectory();
  readonly image = join(this.#directory, 'image');
  readonly #answers = join(this.#directory, 'answers');

  constructor() {
    writeFileSync(this.image, this.content);
  }

  /** Sends all requests through a pump at once; request i has number i + 1. */
  answer(deviceFd: number, alignment: number, threads: number, requests: readonly (readonly Pair[])[]) {
    const out = openSync(
      this.#answers,
      constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_APPEND,
    );
    const pump = openDataPump(out, deviceFd, alignment, threads, MAX_READ_BYTES);
    for (const [i, pairs] of requests.entries())
      pump.replyRead(i + 1, 0, Float64Array.from(pairs.flat()), pairs.length);
    pump.close();
    expect(pump.inFlight).toBe(0);
    closeSync(out);
    return answersIn(this.#answers);
  }
}

const pairs = fc
  .array(
    fc.tuple(
      fc.oneof({ weight: 1, arbitrary: fc.constant(-1) }, { weight: 3, arbitrary: fc.nat(DEVICE_BYTES - 1) }),
      fc.oneof(fc.integer({ min: 1, max: 3000 }), fc.constantFrom(512, 1024, 4096, 65_536)),
    ),
    { maxLength: 40 },
  )
  .map((drawn): Pair[] => {
    let left = MAX_READ_BYTES;
    const kept: Pair[] = [];
    for (const [offset, wanted] of drawn) {
      const length = Math.min(wanted, left, offset === -1 ? wanted : DEVICE_BYTES - offset);
      if (length > 0) kept.push([offset, length]);
      left -= length;
    }
    return kept;
  });

describe('the data pump', () => {
  it.each([1, 4])('answers any requests from a buffered device with exactly their bytes, %i thread(s)', (threads) => {
    const bench = new PumpBench();
    const device = openSync(bench.image, 'r');
    fc.assert(
      fc.property(fc.array(pairs, { minLength: 1, maxLength: 20 }), (requests) => {
        const answers = bench.answer(device, 1, threads, requests);
        expect(answers.size).toBe(requests.length);
        for (const [i, request] of requests.entries()) {
          expect(answers.get(i + 1)?.error).toBe(0);
          expect(Buffer.compare(answers.get(i + 1)?.data ?? noise(1, 1), expected(bench.content, request))).toBe(0);
        }
      }),
      { numRuns: 60 },
    );
    closeSync(device);
  });

  it('does so from an O_DIRECT device, whatever the alignment of the segments', () => {
    const bench = new PumpBench();
    const device = openSync(loopForTest(bench.image, 0).path, constants.O_RDONLY | constants.O_DIRECT);
    onTestFinished(() => closeSync(device));
    for (const alignment of [directIoAlignment(device), 4096])
      fc.assert(
        fc.property(fc.array(pairs, { minLength: 1, maxLength: 10 }), (requests) => {
          const answers = bench.answer(device, alignment, 4, requests);
          for (const [i, request] of requests.entries()) {
            expect(answers.get(i + 1)?.error).toBe(0);
            expect(Buffer.compare(answers.get(i + 1)?.data ?? noise(1, 1), expected(bench.content, request))).toBe(0);
          }
        }),
        { numRuns: 40 },
      );
  });

  it.each([
    ['holes between data', (i: number): Pair => (i % 2 === 0 ? [-1, 100] : [i * 200 + 3, 150])],
    ['scattered data', (i: number): Pair => [((i * 7919) % 4000) * 256 + 1, 120]],
    ['holes between aligned data', (i: number): Pair => (i % 2 === 0 ? [-1, 64] : [(i % 200) * 4096, 200])],
  ])('gathers more pieces than one system call can: %s', (_, piece) => {
    const bench = new PumpBench();
    const device = openSync(loopForTest(bench.image, 0).path, constants.O_RDONLY | constants.O_DIRECT);
    onTestFinished(() => closeSync(device));
    const request = Array.from({ length: 3000 }, (_unused, i) => piece(i));
    const answer = bench.answer(device, 512, 1, [request]).get(1);
    expect(answer?.error).toBe(0);
    expect(Buffer.compare(answer?.data ?? noise(1, 1), expected(bench.content, request))).toBe(0);
  });

  it('answers with EIO beyond the end of the device, and the next request well', () => {
    const bench = new PumpBench();
    const device = openSync(bench.image, 'r');
    onTestFinished(() => closeSync(device));
    const answers = bench.answer(device, 1, 1, [
      [[DEVICE_BYTES - 10, 11]],
      [[DEVICE_BYTES * 8, 10]],
      [
        [0, 10],
        [DEVICE_BYTES - 1, 2],
      ],
      [[DEVICE_BYTES - 10, 10]],
      [],
    ]);
    for (const unique of [1, 2, 3]) expect(answers.get(unique)).toEqual({ error: Errno.EIO, data: new Uint8Array(0) });
    expect(answers.get(4)).toEqual({ error: 0, data: bench.content.subarray(DEVICE_BYTES - 10) });
    expect(answers.get(5)).toEqual({ error: 0, data: new Uint8Array(0) });
  });

  it('reads up to a device end that is not aligned', () => {
    const directory = scratchDirectory();
    const image = join(directory, 'odd');
    const content = noise(10_000, 5);
    writeFileSync(image, content);
    const device = openSync(image, constants.O_RDONLY | constants.O_DIRECT);
    const out = openSync(join(directory, 'answers'), 'ax');
    onTestFinished(() => [device, out].forEach(closeSync));
    const pump = openDataPump(out, device, 4096, 1, 65_536);
    pump.replyRead(1, 0, new Float64Array([9000, 1000]), 1);
    pump.replyRead(2, 0, new Float64Array([9000, 1001]), 1);
    pump.close();
    const answers = answersIn(join(directory, 'answers'));
    expect(answers.get(1)).toEqual({ error: 0, data: content.subarray(9000) });
    expect(answers.get(2)?.error).toBe(Errno.EIO);
  });

  it('passes on the errno of a device error', () => {
    const bench = new PumpBench();
    const writeOnly = openSync(bench.image, 'a');
    onTestFinished(() => closeSync(writeOnly));
    expect(bench.answer(writeOnly, 1, 1, [[[0, 10]]]).get(1)?.error).toBe(Errno.EBADF);
  });

  it('keeps both halves of the request number', () => {
    const [channel, other] = socketPair();
    const device = openSync('/dev/zero', 'r');
    onTestFinished(() => [channel, other, device].forEach(closeSync));
    const pump = openDataPump(channel, device, 1, 1, 4096);
    pump.replyRead(0xfffffffe, 0x1fffff, new Float64Array([0, 8]), 1);
    pump.close();
    const packet = receivePacket(other, 100, 1000);
    expect(u64ne(viewOf(packet?.bytes ?? new Uint8Array(16)), 8)).toBe(0x1fffff * 2 ** 32 + 0xfffffffe);
  });

  it('serves a small lonely request at once, without a thread', () => {
    const [channel, other] = socketPair();
    const bench = new PumpBench();
    const device = openSync(bench.image, 'r');
    onTestFinished(() => [channel, other, device].forEach(closeSync));
    const pump = openDataPump(channel, device, 1, 4, 65_536);
    pump.replyRead(1, 0, new Float64Array([5, 16_384]), 1);
    expect(addon.peekPacket(other, 0)).toBe(HEADER_BYTES + 16_384);
    expect(pump.inFlight).toBe(0);
    expect(receivePacket(other, 20_000, 0)?.bytes.subarray(HEADER_BYTES)).toEqual(bench.content.subarray(5, 16_389));
    pump.close();
  });

  it('waits for all that is under way, and goes on afterwards', () => {
    const bench = new PumpBench();
    const device = openSync(bench.image, 'r');
    const path = join(scratchDirectory(), 'answers');
    const out = openSync(path, 'ax+');
    onTestFinished(() => [device, out].forEach(closeSync));
    const pump = openDataPump(out, device, 1, 3, MAX_READ_BYTES);
    pump.waitUntilIdle();
    for (let round = 1; round <= 20; round++) {
      for (let i = 0; i < round; i++) pump.replyRead(i + 1, 0, new Float64Array([0, 100_000]), 1);
      pump.waitUntilIdle();
      expect(pump.inFlight).toBe(0);
      expect(fstatSync(out).size).toBe(((round * (round + 1)) / 2) * (HEADER_BYTES + 100_000));
    }
    pump.close();
    pump.waitUntilIdle();
  });

  it('copies the segments, so that the caller can reuse the array', () => {
    const bench = new PumpBench();
    const device = openSync(bench.image, 'r');
    const out = openSync(join(scratchDirectory(), 'answers'), 'ax+');
    onTestFinished(() => [device, out].forEach(closeSync));
    const pump = openDataPump(out, device, 1, 2, MAX_READ_BYTES);
    const segments = new Float64Array(2);
    for (let i = 0; i < 100; i++) {
      segments[0] = i * 1000;
      segments[1] = 500;
      pump.replyRead(i + 1, 0, segments, 1);
      segments.fill(-7);
    }
    pump.close();
    const answers = answersIn(`/proc/self/fd/${out}`);
    for (let i = 0; i < 100; i++)
      expect(answers.get(i + 1)?.data).toEqual(bench.content.subarray(i * 1000, i * 1000 + 500));
  });

  it('refuses requests once it is closed, and can be closed twice', () => {
    const pump = openDataPump(9999, 9999, 1, 1, 4096);
    pump.close();
    pump.close();
    expect(() => pump.replyRead(1, 0, new Float64Array([0, 1]), 1)).toThrow(/pump is closed/);
  });

  it('survives a channel that takes no answers', () => {
    const bench = new PumpBench();
    const device = openSync(bench.image, 'r');
    onTestFinished(() => closeSync(device));
    for (const channel of [device, 9999]) {
      const pump = openDataPump(channel, device, 1, 2, 4096);
      for (let i = 0; i < 50; i++) pump.replyRead(i, 0, new Float64Array([0, 4096]), 1);
      pump.close();
      expect(pump.inFlight).toBe(0);
    }
  });

  it('leaves no descriptor and no thread behind', () => {
    const bench = new PumpBench();
    const device = openSync(bench.image, 'r');
    const out = openSync('/dev/null', 'w');
    onTestFinished(() => [device, out].forEach(closeSync));
    const threads = () => Number(/^Threads:\s+(\d+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
    const use = () => {
      const pump = openDataPump(out, device, 1, 4, MAX_READ_BYTES);
      for (let i = 0; i < 20; i++) pump.replyRead(i, 0, new Float64Array([0, MAX_READ_BYTES]), 1);
      pump.close();
    };
    use();
    const threadsBefore = threads();
    expect(descriptorsLeaked(50, use)).toBe(0);
    expect(threads()).toBe(threadsBefore);
  });
});
