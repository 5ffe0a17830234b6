import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { FusermountMounter } from '../../helper/fusermount.ts';
import type { MountRequest } from '../../helper/mount-request.ts';
import type { Mount } from '../../helper/mounter.ts';
import { UnmountFlag, unmount } from '../../native/mount-api.ts';
import { mountsBelow } from '../support/test-room.ts';

const MS_RDONLY = 1;
const S_IFDIR = 0o040000;
const pathBefore = process.env.PATH;
const mounter = new FusermountMounter();
let room = '';
let mountPoint = '';

beforeEach(() => {
  room = realpathSync(mkdtempSync(join(tmpdir(), 'fuse4fs-fusermount-')));
  mountPoint = join(room, 'mount');
  mkdirSync(mountPoint);
});
afterEach(() => {
  process.env.PATH = pathBefore;
  for (const point of mountsBelow(room).reverse()) unmount(point, UnmountFlag.DETACH);
  rmSync(room, { recursive: true });
});

/** A program of that name does this instead. */
function insteadOfFusermount(script: string): void {
  const programs = join(room, 'programs');
  mkdirSync(programs);
  writeFileSync(join(programs, 'fusermount3'), `#!/bin/sh\n${script}\n`);
  chmodSync(join(programs, 'fusermount3'), 0o755);
  process.env.PATH = `${programs}:${pathBefore}`;
}

function mount(request: Partial<MountRequest> = {}): Mount {
  const fuseFd = mounter.openFuseDevice();
  const targetFd = openSync(mountPoint, 'r');
  onTestFinished(() => closeSync(fuseFd));
  try {
    return mounter.mount(fuseFd, {
      source: 'source',
      subtype: 'ext4',
      blockDevice: false,
      options: [],
      msFlags: MS_RDONLY,
      target: { fd: targetFd, path: mountPoint, format: S_IFDIR },
      ...request,
    });
  } finally {
    closeSync(targetFd);
  }
}

const mountTmpfs = () => execFileSync('mount', ['-t', 'tmpfs', 'foreign', mountPoint]);

it('no value of an option can bring in another option', () => {
  insteadOfFusermount(`printf '%s\\n' "$@" > ${room}/words; exit 1`);
  const options = [
    { key: 'default_permissions', value: null },
    { key: 'context', value: 'x,allow_other\\' },
  ];
  expect(() => mount({ source: 'a,b', options })).toThrow('made no mount');
  const words = readFileSync(join(room, 'words'), 'utf8').split('\n');
  expect(words).toEqual([
    '-o',
    'fsname=a\\,b,subtype=ext4,ro,default_permissions,context=x\\,allow_other\\\\',
    '--',
    mountPoint,
    '',
  ]);
});

describe('a mount', () => {
  it('that is abandoned goes', () => {
    const made = mount();
    expect(mountsBelow(room)).toEqual([mountPoint]);
    made.abandon();
    expect(mountsBelow(room)).toEqual([]);
  });

  it('that is kept stays', () => {
    mount().keep();
    expect(mountsBelow(room)).toEqual([mountPoint]);
  });

  it('goes also from a mount point whose name the mount table writes in another way', () => {
    mountPoint = join(room, ' \t\n\\040#"$(id)');
    mkdirSync(mountPoint);
    const made = mount();
    expect(mountsBelow(room)).toEqual([mountPoint]);
    made.abandon();
    expect(mountsBelow(room)).toEqual([]);
  });

  it('goes although fusermount3 failed after it had made it', () => {
    insteadOfFusermount('if [ "$1" = -u ]; then umount "$4"; else mount -t tmpfs half-done "$4"; exit 1; fi');
    expect(() => mount()).toThrow('made no mount');
    expect(mountsBelow(room)).toEqual([]);
  });
});

describe('a mount of somebody else', () => {
  it('is left alone when fusermount3 fails', () => {
    mountTmpfs();
    insteadOfFusermount('if [ "$1" = -u ]; then umount "$4"; else exit 1; fi');
    expect(() => mount()).toThrow('made no mount');
    expect(mountsBelow(room)).toEqual([mountPoint]);
  });

  it('is left alone when it lies over ours', () => {
    const made = mount();
    mountTmpfs();
    made.abandon();
    expect(execFileSync('findmnt', ['-n', '-o', 'SOURCE', mountPoint], { encoding: 'utf8' })).toContain('foreign\n');
    expect(mountsBelow(room)).toEqual([mountPoint, mountPoint]);
  });
});
