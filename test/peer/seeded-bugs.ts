/**
 * Bugs that are put into the service under the peer, to see that the peer finds them. Each changes a class of the
 * product from outside.
 */
import { NativeWritableBlockDevice, type ProgramStep } from '../../native/writable-block-device.ts';
import { GroupBlockAllocator } from '../../service/ext4/block-allocator.ts';
import { FileMapping } from '../../service/ext4/file-mapping.ts';
import { type Mapping, MappingType } from '../../service/ext4/mapping.ts';
import { InitFlag } from '../../service/fuse/abi.ts';
import type { IomapRecord } from '../../service/fuse/iomap-records.ts';
import { MappingCache } from '../../service/fuse/mapping-cache.ts';
import { Reply } from '../../service/fuse/reply.ts';
import type { Request } from '../../service/fuse/request.ts';
import { BIT_43 } from './profile.ts';
import { Op } from './wire.ts';

const HEADER_BYTES = 16;
/** Whatever says more is a writeback, in each profile. */
const KNOWN_WITH_WRITE = 0x7ff;
const OPFLAGS_AT = 0;
/** In a record. */
const RECORD = Object.freeze({ offset: 0, length: 8, addr: 16, type: 24, flags: 26, dev: 28 });
const HOLE = 0;
const FALLOCATE_OFFSET_AT = 8;
const FALLOCATE_MODE_AT = 24;
const TOLD_MAX = 200;
const PUNCH_HOLE = 2;

type Plant = () => void;

/** Changes replies when they are complete; returns their length. */
function changeReplies(change: (request: Request, view: DataView, length: number) => number): void {
  const { finish } = Reply.prototype;
  Reply.prototype.finish = function (this: Reply, request: Request): number {
    return change(request, this.view, finish.call(this, request));
  };
}

function changeProvided(change: (files: FileMapping, ...all: Parameters<FileMapping['provide']>) => void): void {
  const { provide } = FileMapping.prototype;
  FileMapping.prototype.provide = function (this: FileMapping, ...all) {
    provide.apply(this, all);
    change(this, ...all);
  };
}

function changeFinished(converts: boolean, grows: boolean): void {
  const { finish } = FileMapping.prototype;
  FileMapping.prototype.finish = function (this: FileMapping, inode, offset, length, doesConvert, doesGrow) {
    finish.call(this, inode, offset, length, doesConvert && converts, doesGrow && grows);
  };
}

/** Every step of a program for the device goes through `change`, which returns null to leave it out. */
function changeSteps(change: (device: NativeWritableBlockDevice, step: ProgramStep) => ProgramStep | null): void {
  const { run } = NativeWritableBlockDevice.prototype;
  NativeWritableBlockDevice.prototype.run = function (this: NativeWritableBlockDevice, steps, done) {
    const left = steps.map((step) => change(this, step)).filter((step) => step !== null);
    return run.call(
      this,
      left.length > 0 ? left : [{ kind: 'write', offsetBytes: 0, bytes: bootBlock(this), durable: false }],
      done,
    );
  };
}

/** Something to write that changes nothing. */
function bootBlock(device: NativeWritableBlockDevice): Uint8Array {
  const bytes = new Uint8Array(512);
  device.read(0, bytes);
  return bytes;
}

const isBegin = (request: Request): boolean => request.opcode === Op.IOMAP_BEGIN;

/** A hole is punched, and the kernel is told where its blocks were. */
function upsertAfterPunch(): void {
  const { upsert } = MappingCache.prototype;
  const told: { cache: MappingCache; nodeId: number; record: IomapRecord }[] = [];
  let late: (() => void) | null = null;
  MappingCache.prototype.upsert = function (this: MappingCache, nodeId, record) {
    if (record.device !== 0) {
      const copy: IomapRecord = Object.assign(Object.create(null), record);
      told.push({ cache: this, nodeId, record: copy });
      if (told.length > TOLD_MAX) told.shift();
    }
    return upsert.call(this, nodeId, record);
  };
  changeReplies((request, _view, length) => {
    late?.();
    late = null;
    if (request.opcode !== Op.FALLOCATE || (request.u32(FALLOCATE_MODE_AT) & PUNCH_HOLE) === 0) return length;
    const offset = request.u64(FALLOCATE_OFFSET_AT);
    const overlapping = told.findLast(
      ({ nodeId, record }) =>
        nodeId === request.nodeId && record.offset <= offset && record.offset + record.length > offset,
    );
    if (overlapping !== undefined) {
      late = () => upsert.call(overlapping.cache, overlapping.nodeId, overlapping.record);
    }
    return length;
  });
}

const PLANTS = {
  'space is allocated as written': () => {
    const { finish } = FileMapping.prototype;
    changeProvided((files, inode, offset, length, _ahead, out: Mapping) => {
      if (out.type !== MappingType.UNWRITTEN) return;
      finish.call(files, inode, offset, length, true, false);
      out.type = MappingType.WRITTEN;
    });
  },
  'IOEND converts nothing': () => changeFinished(false, true),
  'the size is not changed': () => changeFinished(true, false),
  'the size changes at BEGIN': () => {
    const { finish } = FileMapping.prototype;
    changeProvided((files, inode, offset, length) => finish.call(files, inode, offset, length, false, true));
  },
  'writeback is answered with a hole': () =>
    changeReplies((request, view, length) => {
      if (!isBegin(request) || (request.u32(OPFLAGS_AT) & ~KNOWN_WITH_WRITE) === 0) return length;
      view.setUint16(HEADER_BYTES + RECORD.type, HOLE, true);
      view.setUint16(HEADER_BYTES + RECORD.flags, 0, true);
      view.setUint32(HEADER_BYTES + RECORD.dev, 0, true);
      view.setUint32(HEADER_BYTES + RECORD.addr, 0xffffffff, true);
      view.setUint32(HEADER_BYTES + RECORD.addr + 4, 0xffffffff, true);
      return length;
    }),
  'freed blocks are used before the commit': () => {
    const { handleEnded } = GroupBlockAllocator.prototype;
    GroupBlockAllocator.prototype.handleEnded = function (this: GroupBlockAllocator) {
      handleEnded.call(this);
      this.transactionCommitted(Number.MAX_SAFE_INTEGER);
    };
  },
  'the device is never flushed': () => changeSteps((_device, step) => (step.kind === 'flush' ? null : step)),
  'block maps are zeroed through the page cache': () =>
    changeSteps((device, step) => {
      if (step.kind === 'flush' || !step.bytes.every((byte) => byte === 0)) return step;
      device.write(step.offsetBytes, step.bytes);
      return null;
    }),
  'a mapping is told after a hole was punched': upsertAfterPunch,
  'there is no write record': () =>
    changeReplies((request, view, length) => {
      if (isBegin(request)) for (let at = 32; at < 64; at += 4) view.setUint32(HEADER_BYTES + at, 0, true);
      return length;
    }),
  'replies to BEGIN are 8 bytes short': () =>
    changeReplies((request, view, length) => {
      if (!isBegin(request)) return length;
      view.setUint32(0, length - 8, true);
      return length - 8;
    }),
  'addresses are off by one block': () => {
    const { upsert } = MappingCache.prototype;
    MappingCache.prototype.upsert = function (this: MappingCache, nodeId, record) {
      if (record.device !== 0) record.address += 4096;
      return upsert.call(this, nodeId, record);
    };
  },
  'bit 43 is echoed': () =>
    changeReplies((request, view, length) => {
      if (request.opcode !== Op.INIT) return length;
      const flagsAt = HEADER_BYTES + 12;
      view.setUint32(flagsAt, (view.getUint32(flagsAt, true) | InitFlag.INIT_EXT) >>> 0, true);
      view.setUint32(HEADER_BYTES + 32, BIT_43, true);
      return length;
    }),
} satisfies Record<string, Plant>;

export type SeededBug = keyof typeof PLANTS;

const isBug = (name: string): name is SeededBug => Object.hasOwn(PLANTS, name);

/** '' for none. */
export function plantBug(name: string): void {
  if (name === '') return;
  if (!isBug(name)) throw new Error(`no such bug: ${name}`);
  PLANTS[name]();
}
