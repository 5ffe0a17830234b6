import { putU16le, putU32le, u16le, u32le, viewOf } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import type { MetadataChecksum } from './checksum.ts';
import { CorruptionError, FsError } from './errors.ts';
import { MMP, MMP_MAGIC, MmpSequence } from './layout/mmp.ts';
import type { Superblock } from './layout/superblock.ts';

const MIN_INTERVAL_SEC = 5;
const MAX_INTERVAL_SEC = 300;
/** A writer may be late by this much before others think that it is gone. */
const GRACE_SEC = 60;
/** Others are to wait for twice the time in which we update. */
const CHECK_FACTOR = 2;

/** The device as the protection needs it: past all caches, or two machines would not see each other. */
export interface MmpDevice {
  /** Fills `into` with the block. Throws DeviceError. */
  readBlock(blockNr: number, into: Uint8Array): void;
  /** On stable storage when it returns. Throws DeviceError. */
  writeBlock(blockNr: number, from: Uint8Array): void;
  nowSec(): number;
  /** Numbers in [0, 1). */
  random(): number;
}

/** Who is writing, for the eyes of those who are kept out. */
export interface MmpIdentity {
  readonly nodeName: Uint8Array;
  readonly deviceName: Uint8Array;
}

const Phase = Object.freeze({ IDLE: 0, WATCHING: 1, CLAIMING: 2, HELD: 3, LOST: 4 });

/**
 * Multi-mount protection: a block that the one who writes the file system keeps changing, so that others on the same
 * device see that it is in use. Has no clock of its own: whoever uses it waits for as many seconds as it says.
 */
export class MultiMountProtection {
  readonly #blockNr: number;
  readonly #blocksCount: number;
  readonly #firstDataBlock: number;
  readonly #wishedIntervalSec: number;
  readonly #checksum: MetadataChecksum;
  readonly #device: MmpDevice;
  readonly #identity: MmpIdentity;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #phase: number = Phase.IDLE;
  #sequence = 0;
  #waitSec = 0;

  constructor(superblock: Superblock, checksum: MetadataChecksum, device: MmpDevice, identity: MmpIdentity) {
    this.#blockNr = superblock.mmpBlock;
    this.#blocksCount = superblock.blocksCount;
    this.#firstDataBlock = superblock.firstDataBlock;
    this.#wishedIntervalSec = superblock.mmpIntervalSec;
    this.#checksum = checksum;
    this.#device = device;
    this.#identity = identity;
    this.#bytes = new Uint8Array(superblock.blockSizeBytes);
    this.#view = viewOf(this.#bytes);
  }

  /** Seconds between updates. */
  get updateIntervalSec(): number {
    return Math.min(Math.max(this.#wishedIntervalSec, MIN_INTERVAL_SEC), MAX_INTERVAL_SEC);
  }

  get isHeld(): boolean {
    return this.#phase === Phase.HELD;
  }

  /**
   * The first step to the right to write. Returns the seconds after which `proceed` must be called. Throws FsError
   * EBUSY when somebody else has it, CorruptionError when the block makes no sense.
   */
  begin(): number {
    this.#read();
    const interval = Math.max(this.#wishedIntervalSec, u16le(this.#view, MMP.mmp_check_interval), MIN_INTERVAL_SEC);
    this.#waitSec = Math.min(CHECK_FACTOR * interval + 1, interval + GRACE_SEC);
    this.#sequence = u32le(this.#view, MMP.mmp_seq);
    if (this.#sequence === MmpSequence.FSCK) throw this.#busy('e2fsck is running on it');
    if (this.#sequence === MmpSequence.CLEAN) return this.#claim();
    this.#phase = Phase.WATCHING;
    return this.#waitSec;
  }

  /** Returns the seconds after which it must be called again, 0 when the right is ours. Same errors as `begin`. */
  proceed(): number {
    this.#read();
    const sequence = u32le(this.#view, MMP.mmp_seq);
    if (sequence !== this.#sequence) {
      throw this.#busy(sequence === MmpSequence.FSCK ? 'e2fsck is running on it' : `it is in use ${this.#where()}`);
    }
    if (this.#phase === Phase.WATCHING) return this.#claim();
    this.#phase = Phase.HELD;
    this.#write(this.#newSequence());
    return 0;
  }

  /**
   * Says that we are still there; to be called every `updateIntervalSec`. Throws CorruptionError when somebody else
   * has written the block: the file system must not be written any more.
   */
  update(): void {
    if (this.#phase !== Phase.HELD) return;
    this.#requireOurs();
    this.#write(this.#newSequence());
  }

  /** Gives the right back. Does nothing when it isn't ours (any more). */
  release(): void {
    if (this.#phase !== Phase.HELD) return;
    this.#requireOurs();
    this.#phase = Phase.IDLE;
    this.#write(MmpSequence.CLEAN);
  }

  #claim(): number {
    this.#phase = Phase.CLAIMING;
    this.#write(this.#newSequence());
    return this.#waitSec;
  }

  #requireOurs(): void {
    this.#read();
    if (u32le(this.#view, MMP.mmp_seq) === this.#sequence) return;
    this.#phase = Phase.LOST;
    throw new CorruptionError('MMP block', `was changed by somebody else ${this.#where()}`, { block: this.#blockNr });
  }

  #newSequence(): number {
    return 1 + Math.floor(this.#device.random() * MmpSequence.MAX);
  }

  #read(): void {
    if (this.#blockNr <= this.#firstDataBlock || this.#blockNr >= this.#blocksCount) {
      throw new CorruptionError('superblock', `the MMP block is ${this.#blockNr}, outside the file system`);
    }
    this.#device.readBlock(this.#blockNr, this.#bytes);
    const magic = u32le(this.#view, MMP.mmp_magic);
    if (magic !== MMP_MAGIC) throw this.#corrupt(`magic is ${magic.toString(16)}`);
    if (!this.#checksum.enabled) return;
    const found = u32le(this.#view, MMP.mmp_checksum);
    const expected = this.#checksumOf();
    if (found !== expected) {
      throw this.#corrupt(`bad checksum ${found.toString(16)}, expected ${expected.toString(16)}`);
    }
  }

  #write(sequence: number): void {
    const view = this.#view;
    const sec = this.#device.nowSec();
    this.#sequence = sequence;
    putU32le(view, MMP.mmp_seq, sequence);
    putU32le(view, MMP.mmp_time, sec >>> 0);
    putU32le(view, MMP.mmp_time + 4, Math.floor(sec / 2 ** 32));
    this.#putName(MMP.mmp_nodename, MMP.NODENAME_SIZE, this.#identity.nodeName);
    this.#putName(MMP.mmp_bdevname, MMP.BDEVNAME_SIZE, this.#identity.deviceName);
    const checkInterval = Math.max(CHECK_FACTOR * this.updateIntervalSec, MIN_INTERVAL_SEC);
    putU16le(view, MMP.mmp_check_interval, Math.min(checkInterval, MAX_INTERVAL_SEC));
    if (this.#checksum.enabled) putU32le(view, MMP.mmp_checksum, this.#checksumOf());
    this.#device.writeBlock(this.#blockNr, this.#bytes);
  }

  /** Leaves a zero at the end. */
  #putName(at: number, sizeBytes: number, name: Uint8Array): void {
    const length = Math.min(name.length, sizeBytes - 1);
    this.#bytes.fill(0, at, at + sizeBytes);
    this.#bytes.set(name.subarray(0, length), at);
  }

  #checksumOf(): number {
    return this.#checksum.crc32c(this.#checksum.seed, this.#bytes, 0, MMP.mmp_checksum);
  }

  /** "on host NODE (DEVICE)", as far as the one who has it said. */
  #where(): string {
    const device = this.#name(MMP.mmp_bdevname, MMP.BDEVNAME_SIZE);
    return `on host ${this.#name(MMP.mmp_nodename, MMP.NODENAME_SIZE)} (${device})`;
  }

  /** What is printable of it. */
  #name(at: number, sizeBytes: number): string {
    let name = '';
    for (let index = at; index < at + sizeBytes && this.#bytes[index] !== 0; index++) {
      const byte = this.#bytes[index];
      name += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '?';
    }
    return name === '' ? 'unknown' : name;
  }

  #busy(reason: string): FsError {
    return new FsError(Errno.EBUSY, `the file system can't be written: ${reason}`);
  }

  #corrupt(finding: string): CorruptionError {
    return new CorruptionError('MMP block', finding, { block: this.#blockNr });
  }
}
