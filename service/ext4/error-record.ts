import { putU16le, putU32le, u16le, u32le } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import { CorruptionError, DeviceError } from './errors.ts';
import { SUPERBLOCK, SuperblockState } from './layout/superblock.ts';
import { putText, putTime, type SuperblockBytes } from './superblock-write.ts';

const S = SUPERBLOCK;
const FUNCTION_BYTES = 32;

/** Errors as the superblock numbers them, since errno differs between machines. */
const UNKNOWN_ERROR = 1;
const codes: ReadonlyMap<number, number> = new Map([
  [Errno.EIO, 2],
  [Errno.ENOMEM, 3],
  [Errno.EUCLEAN, 5],
  [Errno.ENOSPC, 6],
  [Errno.ENOKEY, 7],
  [Errno.EROFS, 8],
  [Errno.EFBIG, 9],
  [Errno.EEXIST, 10],
  [Errno.ERANGE, 11],
  [Errno.EOVERFLOW, 12],
  [Errno.EBUSY, 13],
  [Errno.ENOTDIR, 14],
]);

/** What the superblock remembers of an error. */
export interface ErrorOccurrence {
  readonly nowSec: number;
  readonly errno: number;
  /** 0 where it does not apply. */
  readonly inode: number;
  readonly block: number;
  /** Where it was found; 32 bytes are kept. */
  readonly where: string;
}

/** The error as an occurrence, or null when it is none of the file system itself but a refusal. */
export function occurrenceOf(error: unknown, nowSec: number): ErrorOccurrence | null {
  if (error instanceof CorruptionError) {
    return { nowSec, errno: error.errno, inode: error.inode, block: error.block, where: error.structure };
  }
  if (error instanceof DeviceError) return { nowSec, errno: error.errno, inode: 0, block: 0, where: 'device' };
  return null;
}

/** Notes the error in the superblock, as the last and, if there was none before, as the first. */
export function recordError(superblock: SuperblockBytes, error: ErrorOccurrence): void {
  const { view, bytes, at } = superblock;
  const isFirst = u32le(view, at + S.s_first_error_time) === 0 && bytes[at + S.s_first_error_time_hi] === 0;
  if (isFirst) {
    putTime(superblock, S.s_first_error_time, S.s_first_error_time_hi, error.nowSec);
    putPlace(superblock, S.s_first_error_ino, S.s_first_error_block, S.s_first_error_func, S.s_first_error_line, error);
    bytes[at + S.s_first_error_errcode] = codes.get(error.errno) ?? UNKNOWN_ERROR;
  }
  putTime(superblock, S.s_last_error_time, S.s_last_error_time_hi, error.nowSec);
  putPlace(superblock, S.s_last_error_ino, S.s_last_error_block, S.s_last_error_func, S.s_last_error_line, error);
  bytes[at + S.s_last_error_errcode] = codes.get(error.errno) ?? UNKNOWN_ERROR;
  putU32le(view, at + S.s_error_count, Math.min(u32le(view, at + S.s_error_count) + 1, 0xffffffff));
  markErroneous(superblock);
}

/** The file system must be checked. */
function markErroneous({ view, at }: SuperblockBytes): void {
  putU16le(view, at + S.s_state, u16le(view, at + S.s_state) | SuperblockState.ERROR);
}

const encoder = new TextEncoder();

function putPlace(
  superblock: SuperblockBytes,
  inode: number,
  block: number,
  where: number,
  line: number,
  error: ErrorOccurrence,
): void {
  const { view, at } = superblock;
  putU32le(view, at + inode, error.inode);
  putU32le(view, at + block, error.block >>> 0);
  putU32le(view, at + block + 4, Math.floor(error.block / 2 ** 32));
  putU32le(view, at + line, 0);
  putText(superblock, where, FUNCTION_BYTES, encoder.encode(error.where));
}

const RECORD: readonly [number, number] = [S.s_error_count, S.s_mount_opts];
const RECORD_MORE: readonly [number, number] = [S.s_first_error_time_hi, S.s_last_error_errcode + 1];

/**
 * Errors are recorded in the superblock's own place at once, past the journal: a replay would bring back what was
 * there before. Returns whether that changes `to`.
 */
export function copyErrorRecord(from: SuperblockBytes, to: SuperblockBytes): boolean {
  let changed = false;
  for (const [start, end] of [RECORD, RECORD_MORE]) {
    for (let offset = start; offset < end; offset++) {
      if (to.bytes[to.at + offset] === from.bytes[from.at + offset]) continue;
      to.bytes[to.at + offset] = from.bytes[from.at + offset];
      changed = true;
    }
  }
  const state = u16le(to.view, to.at + S.s_state);
  const withErrors = state | (u16le(from.view, from.at + S.s_state) & SuperblockState.ERROR);
  putU16le(to.view, to.at + S.s_state, withErrors);
  return changed || withErrors !== state;
}
