import { Errno } from '../../shared/errno.ts';
import type { BlockDevice } from './block-device.ts';
import type { Ext4Context } from './context.ts';
import { DeviceError, FsError } from './errors.ts';
import { readInlineData } from './inline-data.ts';
import type { Inode } from './inode.ts';
import { Mapping, MappingType } from './mapping.ts';

/**
 * Mappings that one search looks at, far below a second's work: the blocks of a small image can be shared so
 * that a file of terabytes changes its mapping with each block.
 */
const MAX_SEARCHED_MAPPINGS = 2 ** 20;
/** Mappings after which a search lets the cache forget the nodes that it came by. */
const SEARCH_BATCH_MAPPINGS = 64;

/** Reads and searches the content of files, for use as a library and for inline data. */
export class FileData {
  readonly #ctx: Ext4Context;
  readonly #device: BlockDevice;
  /** True when blocks have newer copies in the journal, which only the buffer cache knows to find. */
  readonly #viaCache: boolean;
  readonly #mapping = new Mapping();

  constructor(ctx: Ext4Context, device: BlockDevice, viaCache: boolean) {
    this.#ctx = ctx;
    this.#device = device;
    this.#viaCache = viaCache;
  }

  /** Fills `into` from `offsetBytes` on; returns how many bytes there were before the end of the file. */
  read(inode: Inode, offsetBytes: number, into: Uint8Array): number {
    if (inode.isDirectory) throw new FsError(Errno.EISDIR, `inode ${inode.ino} is a directory`);
    const length = Math.min(into.length, inode.sizeBytes - offsetBytes);
    if (length <= 0) return 0;
    let done = 0;
    while (done < length) done += this.#readRun(inode, offsetBytes + done, into.subarray(done, length));
    return length;
  }

  /** Fills the beginning of `into` from the mapping at `offsetBytes`; returns the bytes filled, at least one. */
  #readRun(inode: Inode, offsetBytes: number, into: Uint8Array): number {
    const mapping = this.#mapping;
    const { blockSize } = this.#ctx;
    this.#ctx.mapBlocks(inode, Math.floor(offsetBytes / blockSize), mapping);
    if (mapping.type === MappingType.INLINE) return this.#readInline(inode, offsetBytes, into);
    const inRun = offsetBytes - mapping.lblk * blockSize;
    const length = Math.min(into.length, mapping.lenBlocks * blockSize - inRun);
    const run = into.subarray(0, length);
    if (mapping.type !== MappingType.WRITTEN) run.fill(0);
    else if (this.#viaCache) this.#readCached(mapping.pblk * blockSize + inRun, run);
    else this.#readDevice(mapping.pblk * blockSize + inRun, run);
    return length;
  }

  #readInline(inode: Inode, offsetBytes: number, into: Uint8Array): number {
    const data = readInlineData(this.#ctx, inode).subarray(offsetBytes, offsetBytes + into.length);
    into.set(data);
    into.fill(0, data.length);
    return into.length;
  }

  #readDevice(deviceOffset: number, run: Uint8Array): void {
    const errno = this.#device.read(deviceOffset, run);
    if (errno !== 0) throw new DeviceError(errno, 'read', deviceOffset, run.length);
  }

  #readCached(deviceOffset: number, run: Uint8Array): void {
    const { blockSize, cache } = this.#ctx;
    for (let done = 0; done < run.length; ) {
      const inBlock = (deviceOffset + done) % blockSize;
      const { bytes } = cache.get(Math.floor((deviceOffset + done) / blockSize));
      const part = bytes.subarray(inBlock, Math.min(blockSize, inBlock + run.length - done));
      run.set(part, done);
      done += part.length;
    }
  }

  /** Offset of the first written byte at or behind `offsetBytes`, -1 when there is none. */
  seekData(inode: Inode, offsetBytes: number): number {
    return this.#seek(inode, offsetBytes, true, -1);
  }

  /** Offset of the first hole at or behind `offsetBytes`: at the latest the end of the file. -1 behind that. */
  seekHole(inode: Inode, offsetBytes: number): number {
    return this.#seek(inode, offsetBytes, false, inode.sizeBytes);
  }

  /**
   * Allocated but never written blocks are holes, as the kernel reports them. A search that is given up takes
   * the rest for data, as lseek(2) permits for all of a file.
   */
  #seek(inode: Inode, offsetBytes: number, wantData: boolean, atEnd: number): number {
    if (offsetBytes < 0 || offsetBytes >= inode.sizeBytes) return -1;
    const mapping = this.#mapping;
    const { blockSize } = this.#ctx;
    let at = offsetBytes;
    for (let searched = 0; at < inode.sizeBytes; searched++) {
      if (searched === MAX_SEARCHED_MAPPINGS) return wantData ? at : atEnd;
      if (searched % SEARCH_BATCH_MAPPINGS === SEARCH_BATCH_MAPPINGS - 1) this.#ctx.cache.beginOperation();
      this.#ctx.mapBlocks(inode, Math.floor(at / blockSize), mapping);
      const isData = mapping.type === MappingType.WRITTEN || mapping.type === MappingType.INLINE;
      if (isData === wantData) return at;
      at = (mapping.lblk + mapping.lenBlocks) * blockSize;
    }
    return atEnd;
  }
}
