/** Images for crash workloads: small, of many kinds, with something on them and a journal that has been used. */
import { MemoryBlockDevice } from '../../service/ext4/block-device.ts';
import { GroupDescriptors } from '../../service/ext4/group-descriptors.ts';
import { AttributeChange } from '../../service/ext4/namespace/set-attributes.ts';
import type { WritableFilesystem } from '../../service/ext4/writable-filesystem.ts';
import { JUNK, WorkloadSession, type WorkloadStep } from './crash-explorer.ts';
import { fill, PREPARATION } from './crash-workloads.ts';
import { type ImageDirectory, imageBytes, openBytes } from './ext4-image.ts';
import { Prng } from './prng.ts';
import { openWritable } from './writable-image.ts';

const KIB = 1024;

export interface ImageKind {
  readonly name: string;
  readonly sizeBytes: number;
  readonly mkfs: readonly string[];
  /** Leave about so many blocks free, null: as they come. */
  readonly freeBlocks?: number;
}

const SMALL: readonly string[] = ['-b', '1024', '-N', '64', '-m', '0', '-J', 'size=1'];

/** Space that no file can have is in the inode table, which costs nothing to look at. */
const CROWDED: readonly string[] = ['-b', '1024', '-N', '4096', '-m', '0', '-J', 'size=1'];

/** With a journal: all of them keep every promise. */
export const JOURNALLED: readonly ImageKind[] = [
  { name: '1 KiB blocks', sizeBytes: 3072 * KIB, mkfs: ['-t', 'ext4', ...SMALL] },
  {
    name: '4 KiB blocks',
    sizeBytes: 9 * 1024 * KIB,
    mkfs: ['-t', 'ext4', '-b', '4096', '-N', '64', '-m', '0', '-J', 'size=4'],
  },
  { name: 'ext3', sizeBytes: 3072 * KIB, mkfs: ['-t', 'ext3', ...SMALL] },
  {
    name: 'no checksums',
    sizeBytes: 3072 * KIB,
    mkfs: ['-t', 'ext4', '-O', '^metadata_csum,uninit_bg', ...SMALL],
  },
  { name: '32-bit block numbers', sizeBytes: 3072 * KIB, mkfs: ['-t', 'ext4', '-O', '^64bit', ...SMALL] },
  { name: 'orphan file', sizeBytes: 3072 * KIB, mkfs: ['-t', 'ext4', '-O', 'orphan_file', ...SMALL] },
  { name: 'inline data', sizeBytes: 3072 * KIB, mkfs: ['-t', 'ext4', '-O', 'inline_data', ...SMALL] },
  { name: 'attributes in inodes', sizeBytes: 3072 * KIB, mkfs: ['-t', 'ext4', '-O', 'ea_inode', ...SMALL] },
  { name: 'nearly full', sizeBytes: 2432 * KIB, mkfs: ['-t', 'ext4', ...CROWDED], freeBlocks: 75 },
  {
    name: 'nearly full, with block maps, without checksums',
    sizeBytes: 2432 * KIB,
    mkfs: ['-t', 'ext4', '-O', '^extent,^64bit,^metadata_csum,uninit_bg', ...CROWDED],
    freeBlocks: 60,
  },
];

/** Without one, only a repair is promised, and what was synced before anything else began. */
export const UNJOURNALLED: readonly ImageKind[] = [
  {
    name: 'ext4 without a journal',
    sizeBytes: 2048 * KIB,
    mkfs: ['-t', 'ext4', '-O', '^has_journal', '-b', '1024', '-N', '64'],
  },
  { name: 'ext2', sizeBytes: 2048 * KIB, mkfs: ['-t', 'ext2', '-b', '1024', '-N', '64'] },
];

/** Images made once, prepared, and used by many workloads, none of which changes them. */
export class CrashImages {
  readonly #directory: ImageDirectory;
  readonly #prepared = new Map<string, Uint8Array>();

  constructor(directory: ImageDirectory) {
    this.#directory = directory;
  }

  /**
   * What `PREPARATION` leaves behind, cleanly unmounted. `logCommits`: so many transactions have gone through the log,
   * which decides where it goes on; some hundred bring it near its end.
   */
  prepared(kind: ImageKind, logCommits = 0): Uint8Array {
    const key = `${kind.name} ${logCommits}`;
    const known = this.#prepared.get(key);
    if (known !== undefined) return known;
    const bytes = logCommits === 0 ? this.#make(kind) : this.prepared(kind).slice();
    const fs = openWritable(new MemoryBlockDevice(bytes));
    useLog(fs, logCommits);
    if (fs.close() !== 0) throw new Error('the image could not be unmounted');
    this.#prepared.set(key, bytes);
    return bytes;
  }

  #make(kind: ImageKind): Uint8Array {
    const bytes = imageBytes(this.#directory.make(kind.sizeBytes, kind.mkfs));
    spoilFreeBlocks(bytes);
    const steps: WorkloadStep[] = [...PREPARATION];
    if (kind.freeBlocks !== undefined) steps.push(fill('ballast', kind.freeBlocks));
    const session = new WorkloadSession(bytes, new Prng(1)).run(steps);
    if (session.fs.close() !== 0) throw new Error('the image could not be prepared');
    return session.device.content;
  }
}

/** Nothing may depend on what free blocks hold, and nobody may see it. */
function spoilFreeBlocks(bytes: Uint8Array): void {
  const { blockSize, geometry, cache, checksum } = openBytes(bytes);
  const descriptors = new GroupDescriptors(geometry, cache, checksum);
  for (let group = 0; group < geometry.groupCount; group++) {
    const bitmap = cache.get(descriptors.blockBitmap(group)).bytes;
    const first = geometry.groupFirstBlock(group);
    for (let block = first; block < geometry.groupEndBlock(group); block++) {
      const bit = block - first;
      if ((bitmap[bit >>> 3] & (1 << (bit & 7))) !== 0) continue;
      bytes.fill(JUNK, block * blockSize, (block + 1) * blockSize);
    }
  }
}

function useLog(fs: WritableFilesystem, commits: number): void {
  const change = new AttributeChange();
  for (let count = 0; count < commits; count++) {
    fs.beginRequest(0, 0);
    change.mode = 0o755 ^ (count & 1);
    fs.setAttributes(fs.inode(2), change);
    if (fs.commitNow() !== 0) throw new Error('the journal could not be used');
  }
}
