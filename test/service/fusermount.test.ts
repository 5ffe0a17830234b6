import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FusermountMounter } from '../../helper/fusermount.ts';

/** What fusermount3 is told, seen by a program of that name that refuses everything. */
const pathBefore = process.env.PATH;
let room = '';

beforeEach(() => {
  room = mkdtempSync(join(tmpdir(), 'fuse4fs-fusermount-'));
  writeFileSync(join(room, 'fusermount3'), `#!/bin/sh\nprintf '%s\\n' "$@" > ${room}/words\nexit 1\n`);
  chmodSync(join(room, 'fusermount3'), 0o755);
  process.env.PATH = `${room}:${pathBefore}`;
});
afterEach(() => {
  process.env.PATH = pathBefore;
  rmSync(room, { recursive: true });
});

it('no value of an option can bring in another option', () => {
  const fd = openSync(room, 'r');
  const mounting = () =>
    new FusermountMounter().mount(fd, {
      source: 'a,b',
      subtype: 'ext4',
      blockDevice: false,
      options: [
        { key: 'default_permissions', value: null },
        { key: 'context', value: 'x,allow_other\\' },
      ],
      msFlags: 1,
      target: { fd, path: room, format: 0o040000 },
    });
  try {
    expect(mounting).toThrow('exit status 1');
  } finally {
    closeSync(fd);
  }
  const words = readFileSync(join(room, 'words'), 'utf8').split('\n');
  expect(words.slice(0, 2)).toEqual([
    '-o',
    'fsname=a\\,b,subtype=ext4,ro,default_permissions,context=x\\,allow_other\\\\',
  ]);
});
