import { afterAll, afterEach, expect, test } from 'vitest';
import { mountFuse4fs, tryMountFuse4fs } from '../support/fuse4fs-mount.ts';
import { kernelSnapshot, makeImage, withKernelMount } from '../support/kernel-image.ts';
import { OperationScript } from '../support/operation-script.ts';
import { run, sha256OfFile, TestRoom } from '../support/test-room.ts';
import {
  type Allowance,
  compareSnapshots,
  FUSE_ALLOWANCES,
  summarize,
  type TreeSnapshot,
  takeSnapshot,
} from '../support/tree-snapshot.ts';

/**
 * A read-only mount must show the recovered state without writing one byte. The kernel is asked twice: for the state
 * after its own replay of a copy, and, with noload, for the state without any replay.
 */
const room = new TestRoom('dirty-journal');
afterEach(() => room.reset());
afterAll(() => room.clear());

interface DirtyVariant {
  readonly name: string;
  readonly blockBytes: number;
  readonly mkfs: string;
  /** Options of the mount whose journal stays dirty. */
  readonly mount: string;
}

/** commit=1000: no commit but those that the script asks for. */
const VARIANTS: readonly DirtyVariant[] = [
  { name: 'data=ordered, checksum v3, 64-bit tags', blockBytes: 4096, mkfs: '-t ext4', mount: 'data=ordered' },
  { name: 'data=journal, escaped blocks', blockBytes: 4096, mkfs: '-t ext4', mount: 'data=journal' },
  { name: 'data=journal, 1 KiB blocks', blockBytes: 1024, mkfs: '-t ext4', mount: 'data=journal' },
  { name: 'data=writeback, 2 KiB blocks', blockBytes: 2048, mkfs: '-t ext4', mount: 'data=writeback' },
  {
    name: '32-bit tags, no checksums',
    blockBytes: 4096,
    mkfs: '-t ext4 -O ^64bit,^metadata_csum',
    mount: 'data=ordered',
  },
  {
    name: '64-bit tags, no checksums',
    blockBytes: 1024,
    mkfs: '-t ext4 -O 64bit,^metadata_csum',
    mount: 'data=journal',
  },
  { name: 'journal_checksum v1', blockBytes: 4096, mkfs: '-t ext4 -O ^metadata_csum', mount: 'journal_checksum' },
  {
    name: 'journal_async_commit',
    blockBytes: 4096,
    mkfs: '-t ext4 -O ^metadata_csum',
    mount: 'journal_async_commit,data=writeback',
  },
  {
    name: 'async commit with checksum v3',
    blockBytes: 1024,
    mkfs: '-t ext4',
    mount: 'journal_async_commit,data=writeback',
  },
  { name: 'ext3', blockBytes: 1024, mkfs: '-t ext3', mount: 'data=journal' },
  { name: 'ext3, 4 KiB blocks, ordered', blockBytes: 4096, mkfs: '-t ext3', mount: 'data=ordered' },
  {
    name: 'inline_data and ea_inode',
    blockBytes: 4096,
    mkfs: '-t ext4 -O inline_data,ea_inode',
    mount: 'data=ordered',
  },
  { name: 'bigalloc', blockBytes: 4096, mkfs: '-t ext4 -O bigalloc -C 16384', mount: 'data=ordered' },
  {
    name: 'meta_bg, small groups',
    blockBytes: 1024,
    mkfs: '-t ext4 -O meta_bg,^resize_inode -g 1024',
    mount: 'data=ordered',
  },
  { name: 'orphan_file', blockBytes: 4096, mkfs: '-t ext4 -O orphan_file', mount: 'data=ordered' },
  { name: 'a small journal that wraps', blockBytes: 1024, mkfs: '-t ext4 -J size=1', mount: 'data=journal' },
  {
    name: 'fast_commit, but full commits only',
    blockBytes: 4096,
    mkfs: '-t ext4 -O fast_commit',
    mount: 'data=journal',
  },
];

/** The state that is at home on the disk before the journal gets dirty. */
function settledState(blockBytes: number): OperationScript {
  const script = new OperationScript();
  script.mkdir('kept').files('kept/file-', 40).mkdir('emptied').files('emptied/file-', 300);
  script.write('kept/data', 0, 40 * blockBytes, 1).write('kept/overwritten', 0, 20 * blockBytes, 2);
  script.write('kept/shrunk', 0, 60 * blockBytes, 3).stripes('kept/tree', blockBytes, 400, 2 * blockBytes, 4);
  script.mkdir('grown').files('grown/before-', 20).text('kept/attributes', 0, 'x');
  script.xattrRandom('kept/attributes', 'user.old', 300, 5).symlink('kept/symlink', 'old-target');
  return script.sync();
}

/** Several transactions: changed, freed and reused metadata, so that later ones revoke blocks of earlier ones. */
function unsettledWork(blockBytes: number): OperationScript {
  const script = new OperationScript();
  script.files('grown/after-', 400).journalMagic('kept/magic', blockBytes, 24, 6).fsync('kept/magic');
  script.unlinks('emptied/file-', 0, 300, 1).rmdir('emptied').unlink('kept/tree').fsync('grown');
  script.write('kept/reuses-freed-blocks', 0, 500 * blockBytes, 7).fsync('kept/reuses-freed-blocks');
  script.write('kept/overwritten', 5 * blockBytes + 3, 9 * blockBytes, 8).truncate('kept/shrunk', 3 * blockBytes + 5);
  script.mkdir('grown/deeper').mkdir('grown/deeper/still').files('grown/deeper/still/f', 30).fsync('kept/overwritten');
  script.xattrRemove('kept/attributes', 'user.old').xattrRandom('kept/attributes', 'user.new', 700, 9);
  script.unlink('kept/symlink').symlink('kept/symlink', 'new-target-'.repeat(30)).rename('kept/data', 'grown/data');
  script.chmod('kept/file-3', 0o4711).chown('kept/file-4', 70000, 5).times('kept/file-5', [1, 2], [3, 4]);
  script.journalMagic('grown/magic', blockBytes, 5, 10).fsync('grown/magic');
  for (let i = 0; i < 6; i++) script.text(`kept/file-${i + 10}`, i, `change ${i}`).fsync(`kept/file-${i + 10}`);
  return script;
}

/** Makes an image whose journal holds committed work that is not at home: a copy of a mounted one. */
async function makeDirtyImage(variant: DirtyVariant): Promise<string> {
  const original = makeImage(room, 'original.img', {
    sizeBytes: 64 << 20,
    mkfs: ['-b', String(variant.blockBytes), ...variant.mkfs.split(' ')],
  });
  const dirty = room.path('dirty.img');
  await withKernelMount(room, original, `commit=1000,${variant.mount}`, (root) => {
    settledState(variant.blockBytes).run(root);
    unsettledWork(variant.blockBytes).run(root);
    run('cp', ['--sparse=always', original, dirty]);
  });
  return dirty;
}

/** The kernel replays the journal of a read-only mount too, if it may write to the device. */
async function replayedByKernel(image: string): Promise<TreeSnapshot> {
  const copy = room.path('replayed.img');
  run('cp', ['--sparse=always', image, copy]);
  const device = run('losetup', ['--find', '--show', copy]).trim();
  const mountPoint = room.mountPoint();
  try {
    run('mount', ['-t', 'ext4', '-o', 'ro,noatime', device, mountPoint]);
    const snapshot = await takeSnapshot(mountPoint);
    run('umount', [mountPoint]);
    return snapshot;
  } finally {
    run('losetup', ['--detach', device]);
  }
}

async function seenThroughOurMount(image: string, options: string): Promise<TreeSnapshot> {
  const mount = await mountFuse4fs(room, image, `${options},acl`);
  const snapshot = await takeSnapshot(mount.mountPoint);
  await mount.unmount();
  return snapshot;
}

/** Without replay some structures are half written; that they are damaged is what counts. */
const DAMAGE: Allowance = {
  why: 'the kernel has several error numbers for damaged structures, we have one',
  accepts: (expected, actual) => ['!EIO', '!EBADMSG'].includes(expected) && actual === '!EUCLEAN',
};

const differences = (expected: TreeSnapshot, actual: TreeSnapshot, allowances: readonly Allowance[] = []) =>
  summarize(compareSnapshots(expected, actual, [...FUSE_ALLOWANCES, ...allowances]));

test.each(VARIANTS)('$name: a read-only mount shows the replayed state and writes nothing', async (variant) => {
  const image = await makeDirtyImage(variant);
  expect(run('dumpe2fs', ['-h', image])).toContain('needs_recovery');
  const hash = sha256OfFile(image);
  const replayed = await replayedByKernel(image);
  const unreplayed = await kernelSnapshot(room, image, 'ro,noatime,noload');
  expect(differences(unreplayed, replayed), 'the journal must hold something').not.toEqual([]);

  expect(differences(replayed, await seenThroughOurMount(image, 'ro'))).toEqual([]);
  expect(sha256OfFile(image), 'a mount with replay must not write').toBe(hash);
  expect(differences(unreplayed, await seenThroughOurMount(image, 'ro,norecovery'), [DAMAGE])).toEqual([]);
  expect(sha256OfFile(image), 'a mount without replay must not write').toBe(hash);
  expect(room.leaks()).toEqual([]);
});

test('fast commits are refused by name, and norecovery shows the state before them', async () => {
  const variant = { name: 'fast commits', blockBytes: 4096, mkfs: '-t ext4 -O fast_commit', mount: 'data=ordered' };
  const image = await makeDirtyImage(variant);
  const hash = sha256OfFile(image);
  const unreplayed = await kernelSnapshot(room, image, 'ro,noatime,noload');
  const refused = await tryMountFuse4fs(room, image, 'ro');
  await refused.process.waitForAll(20_000);
  expect(await refused.process.ended).toEqual({ code: 32, signal: null });
  expect(refused.process.output).toMatch(/fast commit/i);
  expect(differences(unreplayed, await seenThroughOurMount(image, 'ro,norecovery'), [DAMAGE])).toEqual([]);
  expect(sha256OfFile(image)).toBe(hash);
  expect(room.leaks()).toEqual([]);
});
