/** Linux errno values, asm-generic numbering (x86-64, arm64, riscv64). Always positive. */
export const Errno = Object.freeze({
  OK: 0,
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  ENOTBLK: 15,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENOTTY: 25,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EUSERS: 87,
  ENOTSOCK: 88,
  EMSGSIZE: 90,
  EPROTOTYPE: 91,
  ENOPROTOOPT: 92,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  ECONNRESET: 104,
  ENOBUFS: 105,
  ENOTCONN: 107,
  ESHUTDOWN: 108,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  ESTALE: 116,
  EUCLEAN: 117,
  ECANCELED: 125,
  ENOKEY: 126,
  ENOPARAM: 519,
});

const names = new Map<number, string>(Object.entries(Errno).map(([name, value]) => [value, name]));

/** "ENOENT", or "errno 1234" for numbers we have no name for. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

/** A system call failed. `errno` is positive; `target` says what it was done to ("" when nothing to name). */
export class SystemError extends Error {
  readonly errno: number;
  readonly syscall: string;
  readonly target: string;

  constructor(errno: number, syscall: string, target: string, detail = '') {
    super(`${syscall}${target === '' ? '' : ` ${target}`}: ${detail === '' ? errnoName(errno) : detail}`);
    this.name = 'SystemError';
    this.errno = errno;
    this.syscall = syscall;
    this.target = target;
  }
}

/** The errno carried by any system error, ours or Node's own (`fs.openSync` and friends); EIO when there is none. */
export function errnoOf(error: unknown): number {
  if (error instanceof Error && 'errno' in error && typeof error.errno === 'number') return Math.abs(error.errno);
  return Errno.EIO;
}
