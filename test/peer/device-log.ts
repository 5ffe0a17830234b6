import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { peerIo } from './programs.ts';

/** As native/device-log.h has it. */
const HEADER = Object.freeze({ usedBytes: 0, clock: 8, capacityBytes: 16, lost: 24, isOn: 32, SIZE: 4096 });
const RECORD = Object.freeze({ kind: 0, party: 4, begin: 8, end: 16, offset: 24, length: 32, data: 40, SIZE: 48 });
const ALIGNMENT = 16;

const Kind = Object.freeze({ WRITE: 1, DURABLE_WRITE: 2, FLUSH: 3, DISCARD: 4, BUFFERED_WRITE: 5 });

/** Who wrote: what is loaded into the service, or the peer. */
export const Party = Object.freeze({ SERVICE: 1, PEER: 2 });

/** Something that happened at the device between two ticks of the log's clock. */
export interface LoggedOperation {
  readonly kind: 'write' | 'flush' | 'discard';
  readonly party: number;
  readonly begin: number;
  /** Infinity: it had not ended when the log was read, or has failed. */
  readonly end: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly bytes: Uint8Array;
  readonly durable: boolean;
  readonly buffered: boolean;
}

/** Where somebody begins to write. */
export interface BegunWrite {
  readonly party: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** What both parties have written to the device, in the order in which they began. */
export class DeviceLog {
  readonly path: string;
  readonly #memory: Uint8Array;
  readonly #view: DataView;
  #takenBytes = 0;
  #begunBytes = 0;

  constructor(path: string, capacityBytes: number) {
    this.path = path;
    const fd = openSync(path, 'w+');
    ftruncateSync(fd, capacityBytes);
    const capacity = new Uint8Array(8);
    new DataView(capacity.buffer).setUint32(0, capacityBytes, true);
    writeSync(fd, capacity, 0, 8, HEADER.capacityBytes);
    writeSync(fd, Uint8Array.of(1), 0, 1, HEADER.isOn);
    closeSync(fd);
    const memory = peerIo.openLog(path);
    if (memory === null) throw new Error(`${path} can't be mapped`);
    this.#memory = memory;
    this.#view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  }

  get isComplete(): boolean {
    return this.#view.getUint32(HEADER.lost, true) === 0;
  }

  /** Ticks so far: what begins from now on has a later number. */
  get now(): number {
    return number64(this.#view, HEADER.clock);
  }

  /** Operations that have begun since the last call; those that have not ended are not taken, nor any behind them. */
  take(): LoggedOperation[] {
    const used = number64(this.#view, HEADER.usedBytes);
    const found: LoggedOperation[] = [];
    while (this.#takenBytes < used) {
      const at = HEADER.SIZE + this.#takenBytes;
      const operation = this.#read(at);
      if (operation === null) break;
      found.push(operation);
      this.#takenBytes += this.#sizeAt(at);
    }
    return found;
  }

  /** Writes that have begun since the last call, whether they have ended or not. */
  takeBegun(): BegunWrite[] {
    const view = this.#view;
    const used = number64(view, HEADER.usedBytes);
    const found: BegunWrite[] = [];
    while (this.#begunBytes < used) {
      const at = HEADER.SIZE + this.#begunBytes;
      if (number64(view, at + RECORD.begin) === 0) break;
      const kind = view.getUint32(at + RECORD.kind, true);
      if (kind !== Kind.FLUSH && kind !== Kind.DISCARD) {
        const offsetBytes = number64(view, at + RECORD.offset);
        const lengthBytes = number64(view, at + RECORD.length);
        found.push({ party: view.getUint32(at + RECORD.party, true), offsetBytes, lengthBytes });
      }
      this.#begunBytes += this.#sizeAt(at);
    }
    return found;
  }

  #sizeAt(at: number): number {
    const size = RECORD.SIZE + number64(this.#view, at + RECORD.data);
    return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
  }

  #read(at: number): LoggedOperation | null {
    const view = this.#view;
    const end = number64(view, at + RECORD.end);
    if (end === 0) return null;
    const kind = view.getUint32(at + RECORD.kind, true);
    const lengthBytes = number64(view, at + RECORD.length);
    const dataBytes = number64(view, at + RECORD.data);
    return {
      kind: kind === Kind.FLUSH ? 'flush' : kind === Kind.DISCARD ? 'discard' : 'write',
      party: view.getUint32(at + RECORD.party, true),
      begin: number64(view, at + RECORD.begin),
      end: end > Number.MAX_SAFE_INTEGER ? Number.POSITIVE_INFINITY : end,
      offsetBytes: number64(view, at + RECORD.offset),
      lengthBytes,
      bytes: this.#memory.slice(at + RECORD.SIZE, at + RECORD.SIZE + dataBytes),
      durable: kind === Kind.DURABLE_WRITE,
      buffered: kind === Kind.BUFFERED_WRITE,
    };
  }
}

const number64 = (view: DataView, at: number): number =>
  view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
