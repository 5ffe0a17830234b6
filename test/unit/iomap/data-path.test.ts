import { describe, expect, test } from 'vitest';
import { Inode } from '../../../service/ext4/inode.ts';
import type { RecoveredBlocks } from '../../../service/ext4/journal/recovered-blocks.ts';
import { type Mapping, MappingType } from '../../../service/ext4/mapping.ts';
import { DataPath, type DataSource } from '../../../service/iomap/data-path.ts';

const BLOCK = 1024;
const START = 4096;

interface Run {
  readonly type: number;
  readonly lblk: number;
  readonly pblk: number;
  readonly lenBlocks: number;
}

interface Sent {
  readonly unique: number;
  readonly segments: number[];
}

function dataPathOver(
  runs: readonly Run[],
  recovered: Partial<RecoveredBlocks> | null,
): { path: DataPath; sent: Sent[] } {
  const sent: Sent[] = [];
  const source = {
    blockSize: BLOCK,
    recovered,
    mapBlocks: (_inode: Inode, lblk: number, out: Mapping) => {
      const run = runs.find((candidate) => lblk >= candidate.lblk && lblk < candidate.lblk + candidate.lenBlocks);
      if (run === undefined) throw new Error(`block ${lblk} is not mapped`);
      out.set(run.type, run.lblk, run.pblk, run.lenBlocks);
    },
  } as Partial<DataSource> as DataSource;
  const mover = {
    waitUntilIdle: () => {},
    replyRead: (low: number, _high: number, segments: Float64Array, count: number) => {
      sent.push({ unique: low, segments: [...segments.subarray(0, 2 * count)] });
    },
  };
  return { path: new DataPath(source, mover, START, 2 ** 20), sent };
}

function fileOf(sizeBytes: number): Inode {
  const inode = new Inode(12);
  inode.sizeBytes = sizeBytes;
  return inode;
}

const EXTENT = { type: MappingType.WRITTEN, lblk: 0, pblk: 100, lenBlocks: 8 };

describe('data path', () => {
  test('a read in the middle of an extent starts at the matching place of the device', () => {
    const { path, sent } = dataPathOver([EXTENT], null);
    expect(path.read(fileOf(8 * BLOCK), 3 * BLOCK + 7, 100, 1, 0)).toBe(true);
    expect(sent).toEqual([{ unique: 1, segments: [START + 103 * BLOCK + 7, 100] }]);
  });

  test('a read ends where the file ends', () => {
    const { path, sent } = dataPathOver([EXTENT], null);
    path.read(fileOf(2 * BLOCK + 5), 0, 8 * BLOCK, 1, 0);
    expect(sent[0].segments).toEqual([START + 100 * BLOCK, 2 * BLOCK + 5]);
  });

  test('holes and unwritten ranges are zeros, joined to one segment', () => {
    const hole = { type: MappingType.HOLE, lblk: 8, pblk: 0, lenBlocks: 2 };
    const unwritten = { type: MappingType.UNWRITTEN, lblk: 10, pblk: 300, lenBlocks: 2 };
    const { path, sent } = dataPathOver([EXTENT, hole, unwritten], null);
    path.read(fileOf(12 * BLOCK), 7 * BLOCK, 5 * BLOCK, 1, 0);
    expect(sent[0].segments).toEqual([START + 107 * BLOCK, BLOCK, -1, 4 * BLOCK]);
  });

  test('extents that follow each other on the device become one segment', () => {
    const next = { type: MappingType.WRITTEN, lblk: 8, pblk: 108, lenBlocks: 8 };
    const { path, sent } = dataPathOver([EXTENT, next], null);
    path.read(fileOf(16 * BLOCK), 0, 16 * BLOCK, 1, 0);
    expect(sent[0].segments).toEqual([START + 100 * BLOCK, 16 * BLOCK]);
  });

  test('a block with a newer copy in the journal is read from there', () => {
    const recovered = {
      size: 1,
      isEscaped: () => false,
      newestCopy: (blockNr: number) => (blockNr === 101 ? 900 : -1),
    };
    const { path, sent } = dataPathOver([EXTENT], recovered);
    path.read(fileOf(8 * BLOCK), 100, 3 * BLOCK, 1, 0);
    expect(sent[0].segments).toEqual([
      START + 100 * BLOCK + 100,
      BLOCK - 100,
      START + 900 * BLOCK,
      BLOCK,
      START + 102 * BLOCK,
      BLOCK + 100,
    ]);
  });

  test('a block whose copy in the journal is escaped is left to the caller', () => {
    const recovered = { size: 1, isEscaped: (blockNr: number) => blockNr === 101, newestCopy: () => -1 };
    const { path, sent } = dataPathOver([EXTENT], recovered);
    expect(path.read(fileOf(8 * BLOCK), 0, 2 * BLOCK, 1, 0)).toBe(false);
    expect(sent).toEqual([]);
  });
});
