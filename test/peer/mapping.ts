import { type IomapNumbers, MappingFlag, MappingType } from './profile.ts';
import { Violation } from './violation.ts';
import { isAllOnes } from './wire.ts';

/** A device address that is none. */
export const NO_ADDRESS = -1;
/** Of a mapping that was answered directly: nobody can tell whether it still holds. */
export const DIRECT = -1;

/** Where a range of a file is. All quantities are bytes. */
export interface Mapping {
  readonly offset: number;
  readonly length: number;
  readonly address: number;
  readonly type: number;
  readonly flags: number;
  readonly device: number;
  /** State of the mapping cache that this was found in, or DIRECT. */
  readonly sequence: number;
}

export const RECORD = Object.freeze({ offset: 0, length: 8, addr: 16, type: 24, flags: 26, dev: 28, SIZE: 32 });

/** What records are measured against. */
export interface MappingLimits {
  readonly numbers: IomapNumbers;
  readonly blockBytes: number;
  readonly maxBytes: number;
  /** Size of a registered device, or -1. */
  deviceBytes(id: number): number;
}

export const u64 = (view: DataView, at: number): number =>
  view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);

export function putU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32) >>> 0, true);
}

export const isWithAddress = (type: number): boolean => type === MappingType.MAPPED || type === MappingType.UNWRITTEN;

/** Which of the types that are no places of data a record has. */
export type RecordRole = 'mapping' | 'pure overwrite' | 'retry' | 'no cache';

export function roleOf(view: DataView, at: number, numbers: IomapNumbers): RecordRole {
  switch (view.getUint16(at + RECORD.type, true)) {
    case numbers.PURE_OVERWRITE:
      return 'pure overwrite';
    case numbers.RETRY_CACHE:
      return 'retry';
    case numbers.NOCACHE:
      return 'no cache';
    default:
      return 'mapping';
  }
}

/** Decodes a record after checking it as strictly as any kernel would (P-2). */
export function decodeRecord(view: DataView, at: number, limits: MappingLimits): Mapping {
  const offset = u64(view, at + RECORD.offset);
  const length = u64(view, at + RECORD.length);
  const type = view.getUint16(at + RECORD.type, true);
  const flags = view.getUint16(at + RECORD.flags, true);
  const device = view.getUint32(at + RECORD.dev, true);
  const isNull = isAllOnes(view, at + RECORD.addr);
  const address = isNull ? NO_ADDRESS : u64(view, at + RECORD.addr);
  const bad = (why: string): Violation =>
    new Violation('P-2', `record ${offset}+${length} at ${address} type ${type} flags ${flags} dev ${device}: ${why}`);
  const { blockBytes, numbers } = limits;
  if (length === 0 || offset % blockBytes !== 0 || length % blockBytes !== 0) throw bad('not in whole blocks');
  if (offset >= limits.maxBytes || offset + length > Number.MAX_SAFE_INTEGER) throw bad('beyond the largest file');
  if ((flags & ~MappingFlag.FROM_SERVER) !== 0) throw bad('flags that a server must not set');
  if (isWithAddress(type)) {
    if (device === 0 || isNull) throw bad('without a device address');
    const deviceBytes = limits.deviceBytes(device);
    if (deviceBytes < 0) throw bad('of a device that was not registered');
    if (address % blockBytes !== 0 || address + length > deviceBytes) throw bad('not within the device');
    return { offset, length, address, type, flags, device, sequence: DIRECT };
  }
  if (device !== 0 || !isNull) throw bad('with an address');
  const isSpecial = type === numbers.PURE_OVERWRITE || type === numbers.RETRY_CACHE || type === numbers.NOCACHE;
  if (isSpecial ? flags !== 0 : type !== MappingType.HOLE && type !== MappingType.INLINE) throw bad('of no known kind');
  if (type === MappingType.INLINE && (offset !== 0 || length !== blockBytes)) throw bad('not the first block');
  return { offset, length, address: NO_ADDRESS, type, flags, device, sequence: DIRECT };
}

export const endOf = (mapping: Mapping): number => mapping.offset + mapping.length;

export const covers = (mapping: Mapping, pos: number): boolean => pos >= mapping.offset && pos < endOf(mapping);

export function encodeRecord(view: DataView, at: number, mapping: Mapping, extraFlags: number): void {
  putU64(view, at + RECORD.offset, mapping.offset);
  putU64(view, at + RECORD.length, mapping.length);
  if (mapping.address === NO_ADDRESS) {
    view.setUint32(at + RECORD.addr, 0xffffffff, true);
    view.setUint32(at + RECORD.addr + 4, 0xffffffff, true);
  } else putU64(view, at + RECORD.addr, mapping.address);
  view.setUint16(at + RECORD.type, mapping.type, true);
  view.setUint16(at + RECORD.flags, mapping.flags | extraFlags, true);
  view.setUint32(at + RECORD.dev, mapping.device, true);
}
