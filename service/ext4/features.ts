import { IncompatibleError } from './errors.ts';
import { Compat, Incompat, RoCompat } from './layout/features.ts';
import { type Superblock, SuperblockState } from './layout/superblock.ts';

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

/** RO_COMPAT features that we write right; anything else means: read only, whoever asks. */
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

const REVISION_MAX = 1;
/** Inodes of the Hurd use some fields for other things. */
const CREATOR_HURD = 1;

/** Why a feature of that name forbids writing, beyond that we don't know it. */
const reasons: Readonly<Record<string, string>> = Object.freeze({
  'read-only': 'the file system is marked read-only for good',
  quota: 'quotas are not accounted for yet',
  bigalloc: 'clusters of several blocks can only be read',
  shared_blocks: 'files share blocks',
  verity: 'files with verity can only be read',
});

/**
 * Why the file system can't be mounted for writing, one sentence each; empty when it can. To be asked again after
 * the journal was replayed, which may bring in another superblock. `isMultiMountProtected`: the right that the mmp
 * feature asks for is held.
 */
export function writeObstacles(superblock: Superblock, isMultiMountProtected: boolean): string[] {
  const obstacles = readOnlyFeatures(superblock).map((name) => {
    const reason = reasons[name];
    return `feature ${name}${reason === undefined ? ' is not supported for writing' : `: ${reason}`}`;
  });
  if (superblock.revLevel > REVISION_MAX) obstacles.push(`revision ${superblock.revLevel} is not known`);
  if (superblock.creatorOs === CREATOR_HURD) obstacles.push('the file system was made for GNU/Hurd');
  if (superblock.hasCompat(Compat.HAS_JOURNAL) && superblock.journalInode === 0) {
    obstacles.push('the journal is on another device');
  }
  if (superblock.hasIncompat(Incompat.MMP) && !isMultiMountProtected) {
    obstacles.push('feature mmp: other systems can not be kept out');
  }
  if ((superblock.state & SuperblockState.ERROR) !== 0) obstacles.push('errors detected; running e2fsck is required');
  return obstacles;
}
