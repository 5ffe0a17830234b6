import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';

const UNITS = resolve(import.meta.dirname, '../../systemd');

/** What systemd thinks of the unit of the server with these drop-ins: 0 is nothing to say against it, 10 the worst. */
function exposure(dropIns: readonly string[]): number {
  const directory = mkdtempSync(join(tmpdir(), 'fuse4fs-units-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const unit = join(directory, 'fuse4fs@.service');
  copyFileSync(join(UNITS, 'fuse4fs@.service'), unit);
  if (dropIns.length > 0) mkdirSync(`${unit}.d`);
  for (const name of dropIns) copyFileSync(join(UNITS, name), join(`${unit}.d`, name));
  const words = ['security', '--offline=true', '--no-pager', unit];
  const text = execFileSync('systemd-analyze', words, { encoding: 'utf8' });
  const match = /Overall exposure level for .*: (\d+\.\d+)/.exec(text);
  if (match === null) throw new Error(text);
  return Number(match[1]);
}

it('the unit of the server exposes at most 0.2', () => {
  expect(exposure([])).toBeLessThanOrEqual(0.2);
});

it('without writable and executable memory the unit exposes at most 0.1', () => {
  expect(exposure(['fuse4fs-jitless.conf'])).toBeLessThanOrEqual(0.1);
});
