import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VERSION } from '../../shared/version.ts';
import { buildPackage, filesOf, type PackagedFile, packagesInside } from '../support/debian-package.ts';

const top = join(import.meta.dirname, '..', '..');
const work = mkdtempSync(join(tmpdir(), 'fuse4fs-package-'));
const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');
const field = (deb: string, name: string): string => execFileSync('dpkg-deb', ['--field', deb, name]).toString().trim();

let deb: string;
let files: PackagedFile[];

beforeAll(() => {
  deb = buildPackage(join(work, 'first'), 'fuse4fs', {});
  files = filesOf(deb);
}, 600_000);
afterAll(() => rmSync(work, { recursive: true, force: true }));

describe('the Debian package', () => {
  it('is the same, bit for bit, when another person builds it elsewhere', () => {
    const environment = { TZ: 'Pacific/Auckland', LC_ALL: 'C', HOME: work, USER: 'somebody' };
    const second = buildPackage(join(work, 'at', 'another', 'place'), 'with-another-name', environment);
    expect(sha256(second)).toBe(sha256(deb));
  }, 600_000);

  it('has nothing that lintian objects to', () => {
    const changes = deb.replace(/\.deb$/, '.changes');
    const { status, stdout, stderr } = spawnSync('lintian', ['--allow-root', '--fail-on=error,warning', changes], {
      encoding: 'utf8',
    });
    expect(stdout + stderr.replace(/^running with root privileges.*\n/m, '')).toBe('');
    expect(status).toBe(0);
  }, 300_000);

  it('has the version of the program', () => {
    expect(field(deb, 'Version')).toBe(VERSION);
  });

  it('depends on a Node that can run it, on fuse3, and on no more than the C library', () => {
    const names = field(deb, 'Depends')
      .split(', ')
      .map((dependency) => dependency.replace(/ \(>= [\d.]+\)$/, ''));
    expect(names.sort()).toEqual(['fuse3', 'libc6', 'libstdc++6', 'nodejs']);
    expect(field(deb, 'Depends')).toContain('nodejs (>= 20.19)');
    expect(field(deb, 'Recommends')).toBe('e2fsprogs');
  });

  it('gives every file to root and sets no set-user-ID bit', () => {
    expect(files.filter(({ owner, mode }) => owner !== 'root/root' || /[sS]/.test(mode.slice(1)))).toEqual([]);
  });

  it.each([
    ['/usr/bin/fuse4fs', '../lib/fuse4fs/fuse4fs'],
    ['/usr/bin/ext4', '../lib/fuse4fs/fuse4fs'],
    ['/usr/sbin/fuservicemount', '../lib/fuse4fs/fuservicemount'],
    ['/usr/sbin/mount.fuse.ext2', '../lib/fuse4fs/fuservicemount'],
    ['/usr/sbin/mount.fuse.ext3', '../lib/fuse4fs/fuservicemount'],
    ['/usr/sbin/mount.fuse.ext4', '../lib/fuse4fs/fuservicemount'],
  ])('installs %s', (path, target) => {
    expect(files).toContainEqual(expect.objectContaining({ path, target }));
  });

  it('has a manual for each command', () => {
    const commands = files.map(({ path }) => path).filter((path) => /^\/usr\/s?bin\//.test(path));
    const manuals = files.map(({ path }) => /^\/usr\/share\/man\/man\d\/(.*)\.\d\.gz$/.exec(path)?.[1]);
    expect(commands.map((path) => path.replace(/^.*\//, '')).filter((name) => !manuals.includes(name))).toEqual([]);
  });

  it('has every unit of the source', () => {
    const units = execFileSync('git', ['ls-files', 'systemd'], { cwd: top }).toString().split('\n').filter(Boolean);
    const packaged = files.map(({ path }) => path).filter((path) => path.startsWith('/usr/lib/systemd/system/'));
    const wanted = units.filter((unit) => /\.(socket|service)$/.test(unit));
    expect(packaged.sort()).toEqual(wanted.map((unit) => unit.replace('systemd', '/usr/lib/systemd/system')).sort());
  });

  it('starts and stops sockets, and never an instance that serves a mount', () => {
    const control = join(work, 'control');
    execFileSync('dpkg-deb', ['--control', deb, control]);
    const scripts = ['postinst', 'prerm', 'postrm'].map((name) => readFileSync(join(control, name), 'utf8')).join('\n');
    const invoked = [...scripts.matchAll(/deb-systemd-invoke \S+ (.*?) >/g)].map(([, units]) => units);
    expect(invoked.length).toBeGreaterThan(1);
    expect(invoked.filter((units) => !/^('[a-z0-9]+\.socket' ?)+$/.test(units))).toEqual([]);
  });

  it('runs its programs with the Node that it depends on', () => {
    execFileSync('dpkg-deb', ['--extract', deb, join(work, 'tree')]);
    for (const program of ['fuse4fs', 'fuservicemount']) {
      const text = readFileSync(join(work, 'tree/usr/lib/fuse4fs', program), 'utf8');
      expect(text.slice(0, text.indexOf('\n'))).toBe('#!/usr/bin/node');
    }
  });
});

describe('debian/copyright', () => {
  it('names the packages whose code is inside the programs', () => {
    const text = readFileSync(join(top, 'debian/copyright'), 'utf8');
    const missing = packagesInside().filter((path) => !new RegExp(`^(Files:)? +${path}/\\*$`, 'm').test(text));
    expect(missing).toEqual([]);
  });
});
