import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { answer } from '../../ctl/mount-agent.ts';
import { Errno } from '../../shared/errno.ts';
import type { MountStatistics } from '../../shared/mount-statistics.ts';
import { type Fuse4fsMount, mountFuse4fs, program } from '../support/fuse4fs-mount.ts';
import { makeImage } from '../support/kernel-image.ts';
import { run, TestRoom } from '../support/test-room.ts';
import { e2fsckComplaints } from '../support/writable-image.ts';

/** What an administrator sees of real mounts, and does to them. */
const room = new TestRoom('administration');
afterEach(() => room.reset());
afterAll(() => room.clear());

const EMPTY = { sizeBytes: 64 * 2 ** 20, mkfs: ['-t', 'ext4'] };

interface Setup {
  readonly image: string;
  readonly mount: Fuse4fsMount;
  readonly root: string;
}

async function setUp(options = 'rw'): Promise<Setup> {
  const image = makeImage(room, 'image', EMPTY);
  const mount = await mountFuse4fs(room, image, options);
  return { image, mount, root: mount.mountPoint };
}

function control(...words: string[]): { status: number | null; out: string; complaint: string } {
  const { status, stdout, stderr } = spawnSync(program('fuse4fsctl'), words, { encoding: 'utf8', timeout: 60_000 });
  return { status, out: stdout, complaint: stderr };
}

function statisticsOf(mountPoint: string): MountStatistics {
  const { dev: deviceNumber } = statSync(mountPoint);
  const told = answer({ verb: 'statistics', mountPoint, deviceNumber, leastBytes: 0 });
  if (!told.ok || told.statistics === null) throw new Error(`no statistics: ${JSON.stringify(told)}`);
  return told.statistics;
}

const requests = ({ operations }: MountStatistics, name: string): number =>
  operations.find((operation) => operation.name === name)?.requests ?? 0;

describe('statistics', () => {
  test('tell who serves what, and count what was done', async () => {
    const { image, mount, root } = await setUp();
    const before = statisticsOf(root);
    expect(before).toMatchObject({ device: image, mountPoint: root, state: 'read-write' });
    expect(mount.process.pids()).toContain(before.pid);
    for (let count = 0; count < 10; count++) mkdirSync(join(root, `directory-${count}`));
    const after = statisticsOf(root);
    expect(requests(after, 'MKDIR') - requests(before, 'MKDIR')).toBe(10);
    expect(after.cache.hits).toBeGreaterThan(before.cache.hits);
    expect(after.journal.runningBlocks).toBeGreaterThan(0);
    expect(after.journal.logBlocks).toBeGreaterThan(0);
    expect(after.process.userMicroseconds).toBeGreaterThan(0);
    await mount.unmount();
  });

  test('of a mount that is only read have no journal', async () => {
    const { mount, root } = await setUp('ro');
    expect(statisticsOf(root)).toMatchObject({ state: 'read-only', journal: { logBlocks: 0, commits: 0 } });
    await mount.unmount();
  });

  test('are for everybody who may open the mount point', async () => {
    const { mount } = await setUp('rw,allow_other');
    run('chmod', ['711', room.directory]);
    // The programs lie where not everybody gets to.
    const copy = room.path('fuse4fsctl');
    copyFileSync(program('fuse4fsctl'), copy);
    copyFileSync(join(dirname(program('fuse4fsctl')), 'fuse4fs.node'), room.path('fuse4fs.node'));
    const asNobody = ['--reuid', '65534', '--regid', '65534', '--clear-groups', process.execPath];
    const list = run('setpriv', [...asNobody, copy, 'list', '--json']);
    expect(JSON.parse(list).mounts).toContainEqual(
      expect.objectContaining({ mountPoint: mount.mountPoint, problem: null }),
    );
    await mount.unmount();
  });
});

describe('fuse4fsctl', () => {
  test('shows a mount by its mount point, its device, and a link to either', async () => {
    const { image, mount, root } = await setUp();
    run('ln', ['-s', room.directory, room.path('link')]);
    for (const name of [root, image, join(room.path('link'), root.slice(room.directory.length))]) {
      const { status, out } = control('status', name);
      expect([status, out.split('\n')[0]]).toEqual([0, image]);
      expect(out).toMatch(/State +read-write\n/);
    }
    expect(control('list').out).toContain(root);
    await mount.unmount();
  });

  test('sync brings to the device what the kernel keeps', async () => {
    const { image, mount, root } = await setUp('rw,commit=0');
    writeFileSync(join(root, 'file'), 'x'.repeat(100_000));
    expect(control('sync', root).status).toBe(0);
    expect(statisticsOf(root).journal.runningBlocks).toBe(0);
    const { pid } = statisticsOf(root);
    process.kill(pid, 'SIGKILL');
    run('umount', [root]);
    await mount.process.waitForAll(10_000);
    const again = await mountFuse4fs(room, image);
    expect(readFileSync(join(again.mountPoint, 'file'), 'utf8')).toBe('x'.repeat(100_000));
    await again.unmount();
    expect(e2fsckComplaints(image)).toBe('');
  });

  test('trim gives the space of an image back', async () => {
    const { image, mount, root } = await setUp();
    run('dd', ['if=/dev/urandom', `of=${join(root, 'large')}`, 'bs=1M', 'count=30', 'conv=fsync', 'status=none']);
    run('rm', [join(root, 'large')]);
    expect(control('sync', root).status).toBe(0);
    const before = statSync(image).blocks;
    const { status, out } = control('trim', root);
    expect([status, /^\/.*: \d+\.\d MiB \(\d+ bytes\) trimmed\n$/.test(out)]).toEqual([0, true]);
    expect(before - statSync(image).blocks).toBeGreaterThan((29 * 2 ** 20) / 512);
    await mount.unmount();
    expect(e2fsckComplaints(image)).toBe('');
  });

  test('shutdown ends all use, and loses nothing', async () => {
    const { image, mount, root } = await setUp();
    writeFileSync(join(root, 'file'), 'text');
    expect(control('sync', root).status).toBe(0);
    expect(control('shutdown', root)).toEqual({ status: 0, out: '', complaint: '' });
    expect(() => writeFileSync(join(root, 'other'), 'text')).toThrow(/EIO/);
    expect(control('status', root).status).toBe(1);
    await mount.unmount();
    expect(e2fsckComplaints(image)).toBe('');
  });

  test('gives up a server that hangs, and others are shown all the same', async () => {
    const { mount, root } = await setUp();
    const other = await mountFuse4fs(room, makeImage(room, 'other', EMPTY));
    const { pid } = statisticsOf(root);
    process.kill(pid, 'SIGSTOP');
    try {
      const { mounts } = JSON.parse(control('list', '--json', '--timeout', '1').out);
      const problemOf = (mountPoint: string) =>
        mounts.find((report: { mountPoint: string }) => report.mountPoint === mountPoint)?.problem;
      expect([problemOf(root), problemOf(other.mountPoint)]).toEqual(['no answer within 1 s', null]);
      const sync = control('sync', '--timeout', '1', root);
      expect([sync.status, sync.complaint]).toEqual([1, `fuse4fsctl: ${root}: no answer within 1 s\n`]);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await mount.unmount();
    await other.unmount();
  });

  test('leaves mounts alone that others hide', async () => {
    const { mount, root } = await setUp();
    const { dev: deviceNumber } = statSync(root);
    run('mount', ['-t', 'tmpfs', 'none', root]);
    for (const verb of ['statistics', 'shutdown'] as const) {
      const told = answer({ verb, mountPoint: root, deviceNumber, leastBytes: 0 });
      expect(told).toMatchObject({ ok: false, errno: Errno.ESTALE });
    }
    run('umount', [root]);
    expect(statisticsOf(root).state).toBe('read-write');
    await mount.unmount();
  });

  test('says that it found nothing, and what makes no sense', () => {
    expect(control('sync', '/proc')).toMatchObject({
      status: 1,
      complaint: expect.stringContaining('/proc: not a mount'),
    });
    expect(control('frobnicate')).toMatchObject({ status: 2, complaint: expect.stringContaining('unknown command') });
    expect(control('--help')).toMatchObject({ status: 0, complaint: '' });
  });
});
