/**
 * Integer access by width and byte order. Three byte orders meet in this project: little endian
 * (ext4), big endian (jbd2, service packets) and the host's own (FUSE). The name always says which.
 *
 * 64-bit quantities are numbers: everything we count stays below 2^53. `u64*` returns a rounded
 * number above that, which is still above that: compare what comes from outside with a bound first.
 */

const HOST_IS_LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
const TWO_POW_32 = 2 ** 32;

export const u8 = (view: DataView, at: number): number => view.getUint8(at);

export const u16le = (view: DataView, at: number): number => view.getUint16(at, true);
export const u32le = (view: DataView, at: number): number => view.getUint32(at, true);
export const i32le = (view: DataView, at: number): number => view.getInt32(at, true);

export const u16be = (view: DataView, at: number): number => view.getUint16(at, false);
export const u32be = (view: DataView, at: number): number => view.getUint32(at, false);

export const u16ne = (view: DataView, at: number): number => view.getUint16(at, HOST_IS_LITTLE_ENDIAN);
export const u32ne = (view: DataView, at: number): number => view.getUint32(at, HOST_IS_LITTLE_ENDIAN);
export const i32ne = (view: DataView, at: number): number => view.getInt32(at, HOST_IS_LITTLE_ENDIAN);
export const u64ne = (view: DataView, at: number): number =>
  HOST_IS_LITTLE_ENDIAN
    ? view.getUint32(at + 4, true) * TWO_POW_32 + view.getUint32(at, true)
    : view.getUint32(at, false) * TWO_POW_32 + view.getUint32(at + 4, false);

/** Signed; rounded beyond 2^53 on either side. */
export const i64ne = (view: DataView, at: number): number =>
  HOST_IS_LITTLE_ENDIAN
    ? view.getInt32(at + 4, true) * TWO_POW_32 + view.getUint32(at, true)
    : view.getInt32(at, false) * TWO_POW_32 + view.getUint32(at + 4, false);

/** The halves of a 64-bit field that may use all its bits, or that nobody counts with. */
export const u64neLow = (view: DataView, at: number): number => u32ne(view, HOST_IS_LITTLE_ENDIAN ? at : at + 4);
export const u64neHigh = (view: DataView, at: number): number => u32ne(view, HOST_IS_LITTLE_ENDIAN ? at + 4 : at);

export const putU16le = (view: DataView, at: number, value: number): void => view.setUint16(at, value, true);
export const putU32le = (view: DataView, at: number, value: number): void => view.setUint32(at, value, true);

export const putU16be = (view: DataView, at: number, value: number): void => view.setUint16(at, value, false);
export const putU32be = (view: DataView, at: number, value: number): void => view.setUint32(at, value, false);

export const putU16ne = (view: DataView, at: number, value: number): void =>
  view.setUint16(at, value, HOST_IS_LITTLE_ENDIAN);
export const putU32ne = (view: DataView, at: number, value: number): void =>
  view.setUint32(at, value, HOST_IS_LITTLE_ENDIAN);
export const putI32ne = (view: DataView, at: number, value: number): void =>
  view.setInt32(at, value, HOST_IS_LITTLE_ENDIAN);
/** Writes a non-negative number below 2^53 as 64 bits. */
export const putU64ne = (view: DataView, at: number, value: number): void => {
  const high = (value / TWO_POW_32) >>> 0;
  const low = value >>> 0;
  view.setUint32(at, HOST_IS_LITTLE_ENDIAN ? low : high, HOST_IS_LITTLE_ENDIAN);
  view.setUint32(at + 4, HOST_IS_LITTLE_ENDIAN ? high : low, HOST_IS_LITTLE_ENDIAN);
};
/** Writes a 64-bit field from its halves (u32 each). */
export const putU64neHalves = (view: DataView, at: number, high: number, low: number): void => {
  view.setUint32(at, HOST_IS_LITTLE_ENDIAN ? low : high, HOST_IS_LITTLE_ENDIAN);
  view.setUint32(at + 4, HOST_IS_LITTLE_ENDIAN ? high : low, HOST_IS_LITTLE_ENDIAN);
};
/** Writes a signed whole number (|value| < 2^53) as 64-bit two's complement. */
export const putI64ne = (view: DataView, at: number, value: number): void => {
  const high = Math.floor(value / TWO_POW_32) >>> 0;
  const low = value >>> 0;
  view.setUint32(at, HOST_IS_LITTLE_ENDIAN ? low : high, HOST_IS_LITTLE_ENDIAN);
  view.setUint32(at + 4, HOST_IS_LITTLE_ENDIAN ? high : low, HOST_IS_LITTLE_ENDIAN);
};

/** A view over exactly the bytes of `bytes`. Costs an allocation: make it once per buffer. */
export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
