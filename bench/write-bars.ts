import type { Bar } from './results.ts';

const MANY_SMALL_CHANGES = [
  'create',
  'rename',
  'rename back',
  'unlink',
  'mkdir',
  'rmdir',
  'create with 4 KiB',
  'unlink with 4 KiB',
  'create with 4 KiB, 4 processes',
  'tar x of 20,000 small files',
  'cp -a of 20,000 small files',
  'rm -rf of 20,000 small files',
  'git clone of 5,000 files',
  'git status of 5,000 files',
];
const STREAMS = ['streaming write, buffered', 'streaming write, direct'];
const RANDOM = [
  'random 4 KiB direct write, queue depth 1',
  'random 4 KiB direct write, queue depth 16',
  'random 4 KiB direct read, queue depth 1',
  'random 4 KiB direct read, queue depth 16',
  'random 4 KiB write + fsync of each',
  'random 4 KiB write, 64 MiB then fsync',
];
const SQLITE = ['sqlite, 500 transactions, journal mode delete', 'sqlite, 500 transactions, journal mode wal'];

export const writeBars: readonly Bar[] = [
  { rows: MANY_SMALL_CHANGES, rival: 'fuse2fs', factor: 0.1 },
  { rows: MANY_SMALL_CHANGES, rival: 'kernel', factor: 3 },
  { rows: STREAMS, rival: 'fuse2fs', factor: 3 },
  { rows: STREAMS, rival: 'kernel', factor: 0.8 },
  { rows: RANDOM, rival: 'kernel', factor: 0.5 },
  { rows: ['append 4 KiB + fsync, median'], rival: 'kernel', factor: 2 },
  { rows: SQLITE, rival: 'kernel', factor: 2.5 },
  { rows: ['unmount with everything flushed'], rival: 'kernel', factor: 2, plus: 100 },
  { rows: ['RSS, idle'], rival: 'fuse4fs', factor: 0, plus: 64 },
  { rows: ['RSS, most'], rival: 'fuse4fs', factor: 0, plus: 128 },
];

const grows = (name: (size: string) => string, smallest: string, larger: readonly string[]): Bar => ({
  rows: larger.map(name),
  rival: 'fuse4fs',
  factor: 1.5,
  base: name(smallest),
});
const MORE_ENTRIES = ['10,000 entries', '100,000 entries', '1,000,000 entries'];
const LARGER = ['100 GiB', '16 TiB'];

/** "Does not grow": what the largest costs is at most one and a half times what the smallest does. */
export const scalingBars: readonly Bar[] = [
  grows((size) => `create in a directory of ${size}`, '1,000 entries', MORE_ENTRIES),
  grows((size) => `rename in a directory of ${size}`, '1,000 entries', MORE_ENTRIES),
  grows((size) => `unlink in a directory of ${size}`, '1,000 entries', MORE_ENTRIES),
  grows((size) => `random 4 KiB direct write into a hole of ${size}`, '1 GiB', LARGER),
  grows((size) => `create with 4 KiB, image of ${size}`, '1 GiB', LARGER),
  grows((size) => `unlink with 4 KiB, image of ${size}`, '1 GiB', LARGER),
  { rows: ['1 GiB', ...LARGER].map((size) => `RSS, most, image of ${size}`), rival: 'fuse4fs', factor: 0, plus: 128 },
];
