import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { compiledTool } from '../support/compiled-tool.ts';
import { Ext4Service } from '../support/ext4-service.ts';
import { makeImage } from '../support/kernel-image.ts';
import { mountsBelow, run, TestRoom } from '../support/test-room.ts';

/** A mount helper of others, which knows the protocol and nothing of ours; the exchange was recorded of another one. */
const room = new TestRoom('foreign-helper');
let image = '';

beforeAll(() => {
  image = makeImage(room, 'plain.img', { sizeBytes: 32 << 20, mkfs: ['-t', 'ext4'] });
});
afterEach(() => room.reset());
afterAll(() => room.clear());

const hex = (text: string): string => Buffer.from(text, 'latin1').toString('hex');
const u32 = (value: number): string => value.toString(16).padStart(8, '0');
const text = (value: string): string => `${hex(value)}00`;
const ok = `H>S 0 ${hex('REPL')}${u32(0)}`;
const isOpen = (line: string): boolean => line.startsWith(`S>H 0 ${hex('OPEN')}`);

test('a helper that knows only the protocol mounts, and hears what was recorded of other services', async () => {
  const service = await Ext4Service.start(room);
  const mountPoint = room.mountPoint();
  // The recorded service starts from nosuid and nodev; ours, which stands in for the kernel's ext4, is told.
  const options = `rw,nosuid,nodev,allow_other,default_permissions,x-test=1,fsname=${image},noatime`;
  const helper = spawnSync(
    compiledTool('foreign-helper'),
    ['/run/filesystems/ext4', 'ext4', image, mountPoint, options],
    {
      encoding: 'utf8',
      timeout: 60_000,
    },
  );
  expect([helper.status, helper.stderr]).toEqual([0, '']);
  const lines = helper.stdout.trim().split('\n');
  expect(lines.slice(0, 4)).toEqual([
    `H>S 0 ${hex('SAFT')}0001000100000003`,
    `S>H 0 ${hex('LAST')}00010000`,
    `H>S 1 ${hex('FILE')}${u32(0)}${text('argv')}`,
    `H>S 1 ${hex('FILE')}${u32(0)}${text('fusedev')}`,
  ]);
  const [, , , , ...rest] = lines;
  // O_RDWR | O_EXCL, no mode, no wishes, no block size: what the recorded service asked for, of a regular file.
  expect(rest.slice(0, 2)).toEqual([
    `S>H 0 ${hex('OPEN')}${u32(0x82)}${u32(0)}${u32(0)}${u32(0)}${text(image)}`,
    `H>S 1 ${hex('FILE')}${u32(0)}${text(image)}`,
  ]);
  const afterFiles = rest.slice(rest.findLastIndex(isOpen) + 2);
  const recorded = [
    `S>H 0 ${hex('TYPE')}${u32(0)}`,
    ok,
    `S>H 0 ${hex('NAME')}${text(image)}`,
    ok,
    `S>H 0 ${hex('MNTP')}40000000${text(mountPoint)}`,
    ok,
    `S>H 0 ${hex('OPTS')}${text('allow_other,default_permissions')}`,
    ok,
    `S>H 0 ${hex('MTAB')}${text('x-test=1')}`,
    ok,
    `S>H 0 ${hex('DOIT')}${u32(0x406)}`,
    ok,
    `S>H 0 ${hex('BYEE')}${u32(0)}`,
  ];
  expect(afterFiles).toEqual(recorded);

  expect(mountsBelow(room.directory)).toEqual([mountPoint]);
  expect(run('findmnt', ['-n', '-o', 'FSTYPE,OPTIONS', mountPoint])).toMatch(/^fuse\.ext4 rw,nosuid,nodev,noatime/);
  writeFileSync(`${mountPoint}/file`, 'written through a mount of others');
  expect(readFileSync(`${mountPoint}/file`, 'utf8')).toBe('written through a mount of others');
  run('umount', [mountPoint]);
  await service.waitForServiceEnd(20_000);
  await service.stop();
  run('e2fsck', ['-fn', image]);
  expect(run('debugfs', ['-R', 'cat file', image])).toBe('written through a mount of others');
});
