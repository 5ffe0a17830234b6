import { putU16ne, putU32ne, putU64ne, putU64neHalves } from '../../shared/bytes.ts';
import { IOMAP_RECORD } from './iomap-abi.ts';

const ALL_ONES = 0xffffffff;
const NO_DEVICE = 0;

/** A mapping as the kernel wants it. Reused by callers, so that answering allocates nothing. */
export class IomapRecord {
  /** Of the file. All in bytes, multiples of the block size. */
  offset = 0;
  length = 0;
  /** Of the device; counts with types that have blocks. */
  address = 0;
  type = 0;
  flags = 0;
  /** The number under which the device is registered; 0 for types without blocks. */
  device = NO_DEVICE;
}

export function putRecord(view: DataView, at: number, record: IomapRecord): void {
  if (record.device === NO_DEVICE) {
    putPlainRecord(view, at, record.offset, record.length, record.type);
    return;
  }
  putU64ne(view, at + IOMAP_RECORD.offset, record.offset);
  putU64ne(view, at + IOMAP_RECORD.length, record.length);
  putU64ne(view, at + IOMAP_RECORD.addr, record.address);
  putU16ne(view, at + IOMAP_RECORD.type, record.type);
  putU16ne(view, at + IOMAP_RECORD.flags, record.flags);
  putU32ne(view, at + IOMAP_RECORD.dev, record.device);
}

/** A record without blocks. */
export function putPlainRecord(view: DataView, at: number, offset: number, length: number, type: number): void {
  putU64ne(view, at + IOMAP_RECORD.offset, offset);
  putU64ne(view, at + IOMAP_RECORD.length, length);
  putU64neHalves(view, at + IOMAP_RECORD.addr, ALL_ONES, ALL_ONES);
  putU16ne(view, at + IOMAP_RECORD.type, type);
  putU16ne(view, at + IOMAP_RECORD.flags, 0);
  putU32ne(view, at + IOMAP_RECORD.dev, NO_DEVICE);
}

/** Length that means "up to the end". */
export function putEndlessLength(view: DataView, at: number): void {
  putU64neHalves(view, at, ALL_ONES, ALL_ONES);
}
