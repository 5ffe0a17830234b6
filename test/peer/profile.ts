/** The numbers of one state of the kernel's interface, kept apart from the product's so that neither hides a slip. */
export interface Profile {
  readonly name: string;
  readonly minor: number;
  /** Bits of INIT's second flag word that are offered. */
  readonly flags2: number;
  readonly iomap: IomapNumbers | null;
}

export interface IomapNumbers {
  readonly PURE_OVERWRITE: number;
  readonly RETRY_CACHE: number;
  readonly NOCACHE: number;
  readonly WRITEBACK: number;
  readonly SWAPFILE: number;
  /** What asking for stripes of nothing fails with. */
  readonly stripeErrno: number;
  /** END follows each mapping of a writeback, not only of writes that grow the file. */
  readonly endsWriteback: boolean;
  /** REPORT never looks into the mapping cache. */
  readonly reportsUncached: boolean;
  /** The size on disk becomes what IOEND is answered with, even when that is less. */
  readonly trustsNewSize: boolean;
  /** Errors of IOEND after a writeback reach fsync. */
  readonly keepsIoendErrors: boolean;
  /** Devices may be given back while no file uses iomap. */
  readonly closesDevices: boolean;
}

/** What released kernels offer beside the first word: security contexts, groups, resending, and so on. */
const STOCK_FLAGS2 = 0b0111_1101_1101;
/** The bit of iomap; in 7.46 it means buffer pools of io_uring. */
export const BIT_43 = 2 ** 11;

const COMMON = Object.freeze({ closesDevices: true, trustsNewSize: false });

export const V7: Profile = Object.freeze({
  name: 'V7',
  minor: 99,
  flags2: STOCK_FLAGS2 | BIT_43,
  iomap: {
    ...COMMON,
    PURE_OVERWRITE: 255,
    RETRY_CACHE: 254,
    NOCACHE: 253,
    WRITEBACK: 2 ** 31,
    SWAPFILE: 2 ** 30,
    stripeErrno: 25,
    endsWriteback: false,
    reportsUncached: false,
    trustsNewSize: true,
    keepsIoendErrors: false,
    closesDevices: false,
  },
});

export const T5: Profile = Object.freeze({
  name: 'T5',
  minor: 99,
  flags2: STOCK_FLAGS2 | BIT_43,
  iomap: {
    ...COMMON,
    PURE_OVERWRITE: 65535,
    RETRY_CACHE: 65534,
    NOCACHE: 65533,
    WRITEBACK: 2 ** 11,
    SWAPFILE: 2 ** 31,
    stripeErrno: 22,
    endsWriteback: true,
    reportsUncached: true,
    keepsIoendErrors: true,
  },
});

export const STOCK_7_45: Profile = Object.freeze({ name: '7.45', minor: 45, flags2: STOCK_FLAGS2, iomap: null });
export const STOCK_7_46: Profile = Object.freeze({
  name: '7.46',
  minor: 46,
  flags2: STOCK_FLAGS2 | BIT_43,
  iomap: null,
});

/** What operations of all profiles have in common. */
export const OpFlag = Object.freeze({
  WRITE: 0x1,
  ZERO: 0x2,
  REPORT: 0x4,
  FAULT: 0x8,
  DIRECT: 0x10,
  NOWAIT: 0x20,
  ATOMIC: 0x200,
});

export const MappingType = Object.freeze({ HOLE: 0, DELALLOC: 1, MAPPED: 2, UNWRITTEN: 3, INLINE: 4 });

export const MappingFlag = Object.freeze({
  NEW: 0x1,
  DIRTY: 0x2,
  SHARED: 0x4,
  BOUNDARY: 0x10,
  ATOMIC_BIO: 0x40,
  /** From the server no other than these. */
  FROM_SERVER: 0xff,
  SIZE_CHANGED: 0x100,
  STALE: 0x200,
});

export const IoendFlag = Object.freeze({
  UNWRITTEN: 0x2,
  DIRECT: 0x8,
  APPEND: 0x10,
  WRITEBACK: 0x20,
  SWAPOFF: 0x40,
});

export const AttrFlag = Object.freeze({ EXCLUSIVE: 4, IOMAP: 8, ATOMIC: 16 });
