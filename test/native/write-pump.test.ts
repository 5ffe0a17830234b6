import { closeSync, constants, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { directIoAlignment } from '../../native/block-device.ts';
import { openWritePump, type WritePump } from '../../native/fuse-device.ts';
import { socketPair } from '../../native/seqpacket.ts';
import { alignedBuffer } from '../../native/writable-block-device.ts';
import { Errno } from '../../shared/errno.ts';
import { loopForTest } from './fixtures/loop.ts';
import { noise, scratchDirectory } from './fixtures/scratch.ts';

const DEVICE_BYTES = 1 << 20;
const BUFFER_BYTES = 256 << 10;
const UNDER_WAY = -1;

interface Bench {
  readonly pump: WritePump;
  readonly image: string;
  /** Waits until all writes have ended; errno by token. */
  ended(): Map<number, number>;
}

/** A pump over a loop device (direct) or an image file; its channel is a socket on which nothing waits. */
function benchForTest(direct: boolean, threads = 4, onCompleted: () => void = () => {}): Bench {
  const image = join(scratchDirectory(), 'image');
  writeFileSync(image, new Uint8Array(DEVICE_BYTES));
  const path = direct ? loopForTest(image, 0).path : image;
  const fd = openSync(path, direct ? constants.O_RDWR | constants.O_DIRECT : constants.O_RDWR);
  const sockets = socketPair();
  const pump = openWritePump(sockets[0], fd, direct ? directIoAlignment(fd) : 1, threads, onCompleted);
  onTestFinished(() => {
    pump.close();
    for (const open of [fd, ...sockets]) closeSync(open);
  });
  const ended = (): Map<number, number> => {
    const errnos = new Map<number, number>();
    const pairs = new Float64Array(2 * 3);
    while (pump.inFlight > 0) {
      pump.wait();
      const count = pump.takeCompleted(pairs);
      for (let index = 0; index < count; index++) errnos.set(pairs[2 * index], pairs[2 * index + 1]);
    }
    return errnos;
  };
  return { pump, image, ended };
}

function buffer(seed: number, bytes = BUFFER_BYTES): Uint8Array {
  const memory = alignedBuffer(bytes);
  memory.set(noise(bytes, seed));
  return memory;
}

describe('the write pump', () => {
  it.each([true, false])('writes large buffers by threads, wherever the segments say (direct: %s)', (direct) => {
    const { pump, image, ended } = benchForTest(direct);
    const buffers = [1, 2, 3].map((seed) => buffer(seed));
    const places = [
      [4096, 131072, 524288, 131072],
      [262144, 262144],
      [0, 4096, 786432, 8192, 131072 + 4096, 4096, 917504, 16384],
    ];
    places.forEach((segments, token) => {
      const pairs = Float64Array.from(segments);
      expect(pump.write(token, buffers[token], 0, pairs, pairs.length / 2)).toBe(UNDER_WAY);
    });
    expect(pump.inFlight).toBe(3);
    expect(ended()).toEqual(new Map([0, 1, 2].map((token) => [token, 0])));
    const content = new Uint8Array(readFileSync(image));
    places.forEach((segments, token) => {
      for (let index = 0, at = 0; index < segments.length; index += 2) {
        const [offset, length] = segments.slice(index, index + 2);
        expect(
          Buffer.compare(content.subarray(offset, offset + length), buffers[token].subarray(at, at + length)),
        ).toBe(0);
        at += length;
      }
    });
  });

  it('writes a small one at once when there is nothing else to do', () => {
    const { pump, image } = benchForTest(true);
    const bytes = buffer(9, 8192);
    expect(pump.write(5, bytes, 4096, Float64Array.of(65536, 4096), 1)).toBe(0);
    expect(pump.inFlight).toBe(0);
    expect(Buffer.compare(readFileSync(image).subarray(65536, 69632), bytes.subarray(4096))).toBe(0);
  });

  it('writes bytes that do not lie as direct I/O wants them', () => {
    const { pump, image, ended } = benchForTest(true);
    const bytes = buffer(4);
    expect(pump.write(0, bytes, 3, Float64Array.of(0, 131072), 1)).toBe(UNDER_WAY);
    expect(ended().get(0)).toBe(0);
    expect(Buffer.compare(readFileSync(image).subarray(0, 131072), bytes.subarray(3, 3 + 131072))).toBe(0);
  });

  it('reports the errno of the device, of large writes and small', () => {
    const { pump, ended } = benchForTest(true);
    const bytes = buffer(1);
    expect(pump.write(1, bytes, 0, Float64Array.of(DEVICE_BYTES, 65536), 1)).toBe(UNDER_WAY);
    expect(ended().get(1)).toBe(Errno.ENOSPC);
    expect(pump.write(1, bytes, 0, Float64Array.of(DEVICE_BYTES, 4096), 1)).toBe(Errno.ENOSPC);
  });

  it('calls back on the main thread when writes have ended', async () => {
    let called: () => void = () => {};
    const completion = new Promise<void>((resolve) => {
      called = resolve;
    });
    const { pump } = benchForTest(true, 1, () => called());
    expect(pump.write(7, buffer(7), 0, Float64Array.of(0, BUFFER_BYTES), 1)).toBe(UNDER_WAY);
    await completion;
    const pairs = new Float64Array(2);
    expect(pump.takeCompleted(pairs)).toBe(1);
    expect([...pairs]).toEqual([7, 0]);
    expect(pump.takeCompleted(pairs)).toBe(0);
  });

  it('does not wait when nothing is under way, and finishes everything before it closes', () => {
    const { pump, image } = benchForTest(false, 1);
    pump.wait();
    const bytes = buffer(8);
    for (let token = 0; token < 4; token++) {
      pump.write(token, bytes, 0, Float64Array.of(token * BUFFER_BYTES, BUFFER_BYTES), 1);
    }
    pump.close();
    pump.close();
    const content = readFileSync(image);
    for (let token = 0; token < 4; token++) {
      expect(content.subarray(token * BUFFER_BYTES, (token + 1) * BUFFER_BYTES).equals(bytes)).toBe(true);
    }
    expect(() => pump.write(0, bytes, 0, Float64Array.of(0, 4096), 1)).toThrow(/closed/);
  });

  it('refuses segments that reach beyond the bytes, or nowhere', () => {
    const { pump } = benchForTest(false);
    const bytes = buffer(1, 8192);
    for (const segments of [
      [0, 8193],
      [-1, 4096],
      [0, 0],
      [0, 4096, 4096, 4097],
      [0.5, 1],
      [2 ** 53, 1],
    ]) {
      const pairs = Float64Array.from(segments);
      expect(() => pump.write(0, bytes, 0, pairs, pairs.length / 2)).toThrow(TypeError);
    }
    expect(() => pump.write(0, bytes, 8193, Float64Array.of(0, 1), 1)).toThrow(TypeError);
    expect(() => pump.write(0, bytes, 0, Float64Array.of(0, 1), 2)).toThrow(TypeError);
    expect(pump.inFlight).toBe(0);
  });

  it('never mixes up what is written at the same time', () => {
    const { pump, image, ended } = benchForTest(true);
    const bytes = buffer(12);
    const sector = 4096;
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(15), fc.integer({ min: 1, max: 8 })), { maxLength: 16 }), (writes) => {
        const expected = new Uint8Array(readFileSync(image));
        writes.forEach(([from, sectors], slot) => {
          const length = sectors * sector;
          pump.write(slot, bytes, from * sector, Float64Array.of(slot * 16 * sector, length), 1);
          expected.set(bytes.subarray(from * sector, from * sector + length), slot * 16 * sector);
        });
        for (const errno of ended().values()) expect(errno).toBe(0);
        expect(Buffer.compare(readFileSync(image), expected)).toBe(0);
      }),
      { numRuns: 20 },
    );
  });
});
