import { MemoryBlockDevice } from '../../service/ext4/block-device.ts';
import type { CachedBlock } from '../../service/ext4/buffer-cache.ts';
import { CorruptionError, FsError } from '../../service/ext4/errors.ts';
import { nodeCapacity } from '../../service/ext4/extent-tree.ts';
import { Geometry } from '../../service/ext4/geometry.ts';
import type { Inode } from '../../service/ext4/inode.ts';
import { atomically } from '../../service/ext4/journal/atomically.ts';
import { Handle } from '../../service/ext4/journal/handle.ts';
import { Incompat, RoCompat } from '../../service/ext4/layout/features.ts';
import { InodeFlag } from '../../service/ext4/layout/inode.ts';
import { SUPERBLOCK, Superblock } from '../../service/ext4/layout/superblock.ts';
import { initMapping } from '../../service/ext4/map-write.ts';
import type { BlockRun, WriteContext } from '../../service/ext4/write-context.ts';
import { Errno } from '../../shared/errno.ts';
import { FIRST_FREE_BLOCK, MapImage, TABLE_BLOCK } from './map-image.ts';

const INODE_FIELDS = ['sizeBytes', 'allocatedBlocks512', 'flags', 'mtimeSec', 'mtimeNsec', 'ctimeSec', 'ctimeNsec'];

const USED = 1;
/** By the open handle: nobody gets it before that ends. */
const FREED = 2;

/** Which blocks are in use; changes of a cancelled handle are undone. */
class TestBlocks {
  readonly used: Uint8Array;
  /** Longest run that is given out at a time. */
  maxRun = Number.MAX_SAFE_INTEGER;
  /** Blocks that only essential metadata may have. */
  reserve = 0;
  free = 0;
  #changed: [number, number][] = [];
  #freed: number[] = [];

  constructor(count: number) {
    this.used = new Uint8Array(count);
    this.used.fill(1, 0, FIRST_FREE_BLOCK);
    this.free = count - FIRST_FREE_BLOCK;
  }

  take(goal: number, want: number, out: BlockRun, reserve = this.reserve): void {
    const limit = Math.min(want, this.maxRun, this.free - reserve);
    if (limit <= 0) throw new FsError(Errno.ENOSPC, 'the test has no free blocks');
    let pblk = this.used.indexOf(0, goal);
    if (pblk < 0) pblk = this.used.indexOf(0);
    let lenBlocks = 0;
    while (lenBlocks < limit && this.used[pblk + lenBlocks] === 0) this.#set(pblk + lenBlocks++, USED);
    out.pblk = pblk;
    out.lenBlocks = lenBlocks;
  }

  give(pblk: number, lenBlocks: number): void {
    for (let block = pblk; block < pblk + lenBlocks; block++) {
      if (this.used[block] !== USED) throw new CorruptionError('bitmap', `block ${block} is freed twice`);
      this.#set(block, FREED);
      this.#freed.push(block);
    }
  }

  #set(block: number, value: number): void {
    this.#changed.push([block, this.used[block]]);
    this.used[block] = value;
    if (value === USED) this.free--;
  }

  handleEnded(): void {
    for (const block of this.#freed) this.used[block] = 0;
    this.free += this.#freed.length;
    this.#freed = [];
    this.#changed = [];
  }

  handleCancelled(): void {
    this.#freed = [];
    for (const [block, before] of this.#changed.reverse()) {
      if (this.used[block] === USED && before === 0) this.free++;
      this.used[block] = before;
    }
    this.#changed = [];
  }
}

function superblockOf(blockSize: number, blocks: number, incompat: number): Superblock {
  const view = new DataView(new ArrayBuffer(1024));
  view.setUint32(SUPERBLOCK.s_blocks_count_lo, blocks, true);
  view.setUint32(SUPERBLOCK.s_blocks_per_group, 8 * blockSize, true);
  view.setUint32(SUPERBLOCK.s_inodes_per_group, 16, true);
  view.setUint32(SUPERBLOCK.s_inodes_count, 16, true);
  view.setUint32(SUPERBLOCK.s_rev_level, 1, true);
  view.setUint16(SUPERBLOCK.s_inode_size, 128, true);
  view.setUint32(SUPERBLOCK.s_feature_incompat, incompat, true);
  view.setUint32(SUPERBLOCK.s_feature_ro_compat, RoCompat.LARGE_FILE | RoCompat.HUGE_FILE, true);
  return new Superblock(view, 0);
}

/** One inode with a block map that can be changed, on a made-up device. Blocks may be smaller than any real ones. */
export class MapWriteImage extends MapImage implements WriteContext {
  override readonly superblock: Superblock;
  readonly device: MemoryBlockDevice;
  readonly geometry: Geometry;
  readonly handle: Handle;
  readonly allocator: TestBlocks;
  readonly orphanInodes = new Set<number>();
  readonly superblockAt = 0;
  now = { sec: 1_700_000_000, nsec: 5 };
  readonly caller = { uid: 0, gid: 0 };
  readonly alignedBuffer = (bytes: number): Uint8Array => new Uint8Array(bytes);
  readonly posixAcl = true;
  /** Called with the device as it would be after each handle, when set. */
  onHandle: (() => void) | null = null;
  #saved: Record<string, number> | null = null;
  #forgotten: number[] = [];

  constructor(blockSize: number, deviceBlocks: number, extents: boolean) {
    super(blockSize, deviceBlocks, false);
    this.superblock = superblockOf(blockSize, deviceBlocks, extents ? Incompat.EXTENTS : 0);
    this.device = new MemoryBlockDevice(this.bytes);
    this.geometry = new Geometry(this.superblock, 0);
    this.allocator = new TestBlocks(deviceBlocks);
    this.file.tableOffset = 0;
    this.file.linksCount = 1;
    this.file.flags = extents ? InodeFlag.EXTENTS : 0;
    this.handle = new Handle(this.cache);
    this.handle.addParticipant(this.allocator);
    this.handle.addParticipant({
      handleEnded: () => {
        this.#saved = null;
        this.#dropForgotten();
        this.onHandle?.();
      },
      handleCancelled: () => this.#restore(),
    });
    this.change(() => initMapping(this, this.file));
  }

  change<T>(run: () => T): T {
    this.cache.beginOperation();
    return atomically(this.handle, run);
  }

  readonly inodes = {
    modify: (inode: Inode): void => {
      if (this.#saved === null) {
        const fields = new Map<string, unknown>(Object.entries(inode));
        this.#saved = Object.fromEntries(INODE_FIELDS.map((name) => [name, Number(fields.get(name))]));
      }
      this.handle.modify(this.cache.get(inode.tableBlock));
    },
    modifyTimes: (inode: Inode): void => this.inodes.modify(inode),
    create: (): Inode => {
      throw new Error('the test has one inode');
    },
  };

  readonly blocks = {
    allocateData: (_inode: Inode, _lblk: number, goal: number, want: number, out: BlockRun): void =>
      this.allocator.take(goal, want, out),
    allocateMetadata: (goal: number, essential = false): number => {
      const out = { pblk: 0, lenBlocks: 0 };
      this.allocator.take(goal, 1, out, essential ? 0 : this.allocator.reserve);
      return out.pblk;
    },
    goalFor: (): number => FIRST_FREE_BLOCK,
    free: (pblk: number, lenBlocks: number): void => this.allocator.give(pblk, lenBlocks),
    freeMetadata: (pblk: number, lenBlocks: number): void => {
      this.allocator.give(pblk, lenBlocks);
      for (let block = pblk; block < pblk + lenBlocks; block++) {
        this.handle.forget(block);
        this.#forgotten.push(block);
      }
    },
    discardReservation: (): void => {},
  };

  readonly inodeAllocator = {
    allocate: (): Inode => {
      throw new Error('the test has one inode');
    },
    free: (): void => {},
  };

  readonly orphans = {
    add: (inode: Inode): void => {
      this.orphanInodes.add(inode.ino);
    },
    remove: (inode: Inode): void => {
      this.orphanInodes.delete(inode.ino);
    },
    has: (ino: number): boolean => this.orphanInodes.has(ino),
  };

  superblockBlock(): CachedBlock {
    return this.cache.get(0);
  }

  /** The file's bytes as its map and the device have them. */
  content(): Uint8Array {
    const data = new Uint8Array(Math.ceil(this.file.sizeBytes / this.blockSize) * this.blockSize);
    for (let lblk = 0; lblk * this.blockSize < data.length; lblk++) {
      const { type, pblk, lblk: begin } = this.ask(lblk);
      if (type !== 1) continue;
      const at = (pblk + lblk - begin) * this.blockSize;
      data.set(this.bytes.subarray(at, at + this.blockSize), lblk * this.blockSize);
    }
    return data.subarray(0, this.file.sizeBytes);
  }

  /** Goes over the whole extent tree. Throws when its shape is not as it must be. */
  walkExtents(): { depth: number; extents: [number, number, number][]; nodes: number[] } {
    const extents: [number, number, number][] = [];
    const nodes: number[] = [];
    const visit = (view: DataView, at: number, depth: number, first: number | null, isRoot: boolean): void => {
      const entries = view.getUint16(at + 2, true);
      const room = isRoot ? 4 : nodeCapacity(this.blockSize);
      if (view.getUint16(at, true) !== 0xf30a) throw new Error('no node');
      if (view.getUint16(at + 4, true) !== room) throw new Error(`room for ${view.getUint16(at + 4, true)} entries`);
      if (view.getUint16(at + 6, true) !== depth) throw new Error('wrong depth');
      if (entries > room || (entries === 0 && !isRoot)) throw new Error(`${entries} entries`);
      for (let index = 0; index < entries; index++) {
        const entryAt = at + 12 + 12 * index;
        const lblk = view.getUint32(entryAt, true);
        if (index === 0 && first !== null && lblk !== first) throw new Error(`key ${first} for a node from ${lblk} on`);
        if (depth === 0) {
          extents.push([lblk, view.getUint32(entryAt + 8, true), view.getUint16(entryAt + 4, true)]);
          continue;
        }
        const child = view.getUint32(entryAt + 4, true);
        nodes.push(child);
        visit(this.cache.get(child).view, 0, depth - 1, lblk, false);
      }
    };
    const { view } = this.cache.get(TABLE_BLOCK);
    const rootAt = this.file.tableOffset + 0x28;
    const depth = view.getUint16(rootAt + 6, true);
    visit(view, rootAt, depth, null, true);
    return { depth, extents, nodes };
  }

  /** Blocks in use according to the allocator, the inode's own table block left out. */
  usedBlocks(): number[] {
    const used: number[] = [];
    for (let block = FIRST_FREE_BLOCK; block < this.allocator.used.length; block++) {
      if (this.allocator.used[block] === 1) used.push(block);
    }
    return used;
  }

  /** Every handle is committed at once, as it were. */
  #dropForgotten(): void {
    for (const blockNr of this.#forgotten) {
      const block = this.cache.peek(blockNr);
      if (block?.forgotten === true) this.cache.drop(block);
    }
    this.#forgotten = [];
  }

  #restore(): void {
    this.#forgotten = [];
    if (this.#saved !== null) Object.assign(this.file, this.#saved);
    this.#saved = null;
  }
}
