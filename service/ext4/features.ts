import { IncompatibleError } from './errors.ts';
import { Compat, Incompat, RoCompat } from './layout/features.ts';
import type { Superblock } from './layout/superblock.ts';

/** Names as the ext4 tools print them, where they differ from our constants. */
const toolNames: Readonly<Record<string, string>> = Object.freeze({
  EXTENTS: 'extent',
  BIT64: '64bit',
  RECOVER: 'needs_recovery',
  GDT_CSUM: 'uninit_bg',
  CSUM_SEED: 'metadata_csum_seed',
  LARGEDIR: 'large_dir',
  READONLY: 'read-only',
});

type FeatureWord = Readonly<Record<string, number>>;

/**
 * Names of the set bits of one feature word, unknown ones as "FEATURE_I17" with `letter` I (C, I or R) and the
 * bit number.
 */
function namesOf(bits: number, word: FeatureWord, letter: string): string[] {
  const names: string[] = [];
  for (let bit = 0; bit < 32; bit++) {
    const mask = 2 ** bit;
    if (((bits >>> bit) & 1) === 0) continue;
    const known = Object.entries(word).find(([, value]) => value === mask);
    names.push(known === undefined ? `FEATURE_${letter}${bit}` : (toolNames[known[0]] ?? known[0].toLowerCase()));
  }
  return names;
}

/** All features of a file system, as `dumpe2fs` would list them. */
export const featureNames = (superblock: Superblock): string[] => [
  ...namesOf(superblock.compat, Compat, 'C'),
  ...namesOf(superblock.incompat, Incompat, 'I'),
  ...namesOf(superblock.roCompat, RoCompat, 'R'),
];

const READABLE_INCOMPAT =
  Incompat.FILETYPE |
  Incompat.RECOVER |
  Incompat.META_BG |
  Incompat.EXTENTS |
  Incompat.BIT64 |
  Incompat.MMP |
  Incompat.FLEX_BG |
  Incompat.EA_INODE |
  Incompat.CSUM_SEED |
  Incompat.LARGEDIR |
  Incompat.INLINE_DATA;

/** RO_COMPAT features that a future writer would understand; anything else means: read only, whoever asks. */
const WRITABLE_RO_COMPAT =
  RoCompat.SPARSE_SUPER |
  RoCompat.LARGE_FILE |
  RoCompat.BTREE_DIR |
  RoCompat.HUGE_FILE |
  RoCompat.GDT_CSUM |
  RoCompat.DIR_NLINK |
  RoCompat.EXTRA_ISIZE |
  RoCompat.METADATA_CSUM |
  RoCompat.PROJECT |
  RoCompat.ORPHAN_PRESENT;

/** Throws IncompatibleError, naming every feature that stands in the way of reading. */
export function requireReadable(superblock: Superblock): void {
  const unsupported = namesOf((superblock.incompat & ~READABLE_INCOMPAT) >>> 0, Incompat, 'I');
  if (unsupported.length === 0) return;
  const plural = unsupported.length > 1 ? 's' : '';
  throw new IncompatibleError(`file system feature${plural} ${unsupported.join(', ')} not supported`);
}

/** Names of the features because of which the file system may only be read. */
export const readOnlyFeatures = (superblock: Superblock): string[] =>
  namesOf((superblock.roCompat & ~WRITABLE_RO_COMPAT) >>> 0, RoCompat, 'R');
