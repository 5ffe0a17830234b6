import { writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { crc32c } from '../../../native/crc32c.ts';
import { MmpSequence } from '../../../service/ext4/layout/mmp.ts';
import type { Superblock } from '../../../service/ext4/layout/superblock.ts';
import { MultiMountProtection } from '../../../service/ext4/mmp.ts';
import { metadataChecksum } from '../../../service/ext4/superblock.ts';
import { Errno } from '../../../shared/errno.ts';
import { debugfs, debugfsWrite, e2fsprogs } from '../../support/e2fsprogs.ts';
import { ImageDirectory, imageBytes, openBytes } from '../../support/ext4-image.ts';
import { Prng } from '../../support/prng.ts';
import { e2fsckComplaints } from '../../support/writable-image.ts';

const MIB = 2 ** 20;
const directory = new ImageDirectory();
afterAll(() => directory.remove());

const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'latin1');

/** A device with a clock that several machines share. */
class SharedDevice {
  readonly bytes: Uint8Array;
  readonly superblock: Superblock;
  sec = 1_800_000_000;
  writes = 0;
  /** Called once, before the next write reaches the disk. */
  beforeWrite = (): void => {};

  constructor(path: string) {
    this.bytes = imageBytes(path);
    this.superblock = openBytes(this.bytes).superblock;
  }

  /** One machine's view of it. */
  machine(name: string, seed: number): MultiMountProtection {
    const prng = new Prng(seed);
    const { blockSizeBytes } = this.superblock;
    const device = {
      readBlock: (blockNr: number, into: Uint8Array) =>
        into.set(this.bytes.subarray(blockNr * blockSizeBytes, (blockNr + 1) * blockSizeBytes)),
      writeBlock: (blockNr: number, from: Uint8Array) => {
        this.writes++;
        const hook = this.beforeWrite;
        this.beforeWrite = () => {};
        hook();
        this.bytes.set(from, blockNr * blockSizeBytes);
      },
      nowSec: () => this.sec,
      random: () => prng.u32() / 2 ** 32,
    };
    const identity = { nodeName: bytesOf(name), deviceName: bytesOf('/dev/disk') };
    return new MultiMountProtection(this.superblock, metadataChecksum(this.superblock, crc32c), device, identity);
  }

  get sequence(): number {
    const at = this.superblock.mmpBlock * this.superblock.blockSizeBytes;
    return new DataView(this.bytes.buffer, this.bytes.byteOffset).getUint32(at + 4, true);
  }
}

/** Takes the right to write, waiting as told; returns how long. */
function acquire(machine: MultiMountProtection, meanwhile: (sec: number) => void = () => {}): number {
  let waited = 0;
  for (let wait = machine.begin(); wait > 0; wait = machine.proceed()) {
    waited += wait;
    meanwhile(wait);
  }
  return waited;
}

const busy = expect.objectContaining({ errno: Errno.EBUSY });

const kinds: [string, string[]][] = [
  ['with checksums', ['-O', 'mmp']],
  ['without', ['-O', 'mmp,^metadata_csum', '-b', '1024']],
  ['64 KiB blocks', ['-O', 'mmp', '-b', '65536']],
];

describe('the right to write', () => {
  it.each(kinds)('is had after waiting once where nobody has it, and given back as e2fsck likes it: %s', (_k, args) => {
    const path = directory.make(64 * MIB, args);
    const shared = new SharedDevice(path);
    const machine = shared.machine('here', 1);
    expect(acquire(machine)).toBe(11);
    expect(machine.isHeld).toBe(true);
    const held = shared.sequence;
    expect(held).toBeLessThanOrEqual(MmpSequence.MAX);
    shared.sec += 5;
    machine.update();
    expect(shared.sequence).not.toBe(held);
    writeFileSync(path, shared.bytes);
    expect(debugfs(path, 'dump_mmp')).toMatch(/node_name: here\n[\s\S]*device_name: \/dev\/disk\n/);
    expect(debugfs(path, 'dump_mmp')).toContain(`sequence: ${shared.sequence.toString(16).padStart(8, '0')}\n`);
    expect(debugfs(path, 'dump_mmp')).toContain('check_interval: 10\n');
    machine.release();
    expect(shared.sequence).toBe(MmpSequence.CLEAN);
    writeFileSync(path, shared.bytes);
    expect(e2fsckComplaints(path)).toBe('');
    expect(e2fsprogs('dumpe2fs', ['-h', path])).not.toContain('corrupt');
  });

  it('is refused while another machine shows that it is there', () => {
    const shared = new SharedDevice(directory.make(64 * MIB, ['-O', 'mmp']));
    const first = shared.machine('first', 1);
    acquire(first);
    const second = shared.machine('second', 2);
    const attempt = (): number =>
      acquire(second, (sec) => {
        shared.sec += sec;
        first.update();
      });
    expect(attempt).toThrow(busy);
    expect(attempt).toThrow('on host first (/dev/disk)');
    expect(() => first.update()).not.toThrow();
    first.release();
    expect(acquire(second)).toBe(21);
  });

  it('is taken over from a machine that has gone, after waiting twice', () => {
    const shared = new SharedDevice(directory.make(64 * MIB, ['-O', 'mmp']));
    acquire(shared.machine('gone', 1));
    expect(acquire(shared.machine('next', 2))).toBe(42);
  });

  it('goes to one of two that want it at the same time', () => {
    const shared = new SharedDevice(directory.make(64 * MIB, ['-O', 'mmp']));
    const [one, two] = [shared.machine('one', 1), shared.machine('two', 2)];
    shared.beforeWrite = () => {
      expect(two.begin()).toBe(11);
    };
    expect(one.begin()).toBe(11);
    expect(() => two.proceed()).toThrow(busy);
    expect(one.proceed()).toBe(0);
    expect([one.isHeld, two.isHeld]).toEqual([true, false]);
  });

  it('is lost when somebody else has written the block, and then not given back', () => {
    const shared = new SharedDevice(directory.make(64 * MIB, ['-O', 'mmp']));
    const machine = shared.machine('here', 1);
    acquire(machine);
    acquire(shared.machine('there', 2));
    expect(() => machine.update()).toThrow('changed by somebody else on host there');
    expect(machine.isHeld).toBe(false);
    const { writes } = shared;
    machine.update();
    machine.release();
    expect(shared.writes).toBe(writes);
  });

  it('is refused while e2fsck is at work', () => {
    const path = directory.make(64 * MIB, ['-O', 'mmp,^metadata_csum']);
    const shared = new SharedDevice(path);
    const at = shared.superblock.mmpBlock * shared.superblock.blockSizeBytes;
    new DataView(shared.bytes.buffer, shared.bytes.byteOffset).setUint32(at + 4, MmpSequence.FSCK, true);
    expect(() => shared.machine('here', 1).begin()).toThrow(busy);
  });

  it('takes longer where the superblock or the others ask for longer intervals', () => {
    const path = directory.make(64 * MIB, ['-O', 'mmp', '-E', 'mmp_update_interval=30']);
    const shared = new SharedDevice(path);
    const machine = shared.machine('here', 1);
    expect(machine.updateIntervalSec).toBe(30);
    expect(acquire(machine)).toBe(61);
    // Others are told to wait for twice our interval, less than that again and a minute.
    expect(shared.machine('there', 2).begin()).toBe(120);
  });

  it('is not had where the block makes no sense', () => {
    const path = directory.make(64 * MIB, ['-O', 'mmp']);
    const shared = new SharedDevice(path);
    const at = shared.superblock.mmpBlock * shared.superblock.blockSizeBytes;
    shared.bytes[at + 0x20] ^= 1;
    expect(() => shared.machine('here', 1).begin()).toThrow('MMP block');
    shared.bytes[at] ^= 1;
    expect(() => shared.machine('here', 1).begin()).toThrow('magic');
    debugfsWrite(path, ['ssv mmp_block 99999999']);
    expect(() => new SharedDevice(path).machine('here', 1).begin()).toThrow('outside the file system');
  });
});
