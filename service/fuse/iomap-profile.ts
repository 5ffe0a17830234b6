/**
 * fuse-iomap is in no released kernel: its numbers are the provisional ones of the patches, and differ between their
 * versions. Everything that does is here, so that one more version is one more row.
 */
export interface IomapProfile {
  readonly name: string;
  readonly type: {
    readonly PURE_OVERWRITE: number;
    readonly RETRY_CACHE: number;
    readonly NOCACHE: number;
  };
  readonly operation: {
    readonly WRITEBACK: number;
    readonly SWAPFILE: number;
  };
}

/** Kernel patches of 2026-02-23. */
const V7: IomapProfile = Object.freeze({
  name: 'V7',
  type: Object.freeze({ PURE_OVERWRITE: 255, RETRY_CACHE: 254, NOCACHE: 253 }),
  operation: Object.freeze({ WRITEBACK: 2 ** 31, SWAPFILE: 2 ** 30 }),
});

/** The author's tree of 2026-05-21. */
const T5: IomapProfile = Object.freeze({
  name: 'T5',
  type: Object.freeze({ PURE_OVERWRITE: 65535, RETRY_CACHE: 65534, NOCACHE: 65533 }),
  operation: Object.freeze({ WRITEBACK: 2 ** 11, SWAPFILE: 2 ** 31 }),
});

export const IOMAP_PROFILES = Object.freeze({ V7, T5 });

/** The only minor version with iomap, and the bit of the second INIT flag word that offers it. */
export const IOMAP_MINOR = 99;
/** Bit 43 of all flags. Released kernels since 7.46 mean something else by it. */
export const INIT_FLAG2_IOMAP = 2 ** 11;

/** Request codes, the same in all versions. */
export const IomapOpcode = Object.freeze({
  FREEZE_FS: 4089,
  UNFREEZE_FS: 4090,
  SHUTDOWN_FS: 4091,
  IOMAP_CONFIG: 4092,
  IOMAP_IOEND: 4093,
  IOMAP_BEGIN: 4094,
  IOMAP_END: 4095,
});

/** Codes of messages that are no answers. */
export const IomapNotifyCode = Object.freeze({ DEVICE_INVAL: 99, UPSERT: 100, INVAL: 101 });
