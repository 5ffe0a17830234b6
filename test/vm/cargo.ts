import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { compiledAddon } from '../support/compiled-tool.ts';
import { buildPackage } from '../support/debian-package.ts';

const here = import.meta.dirname;

export interface Cargo {
  /** What goes into the machine: the packages, the tools, the probe of the sandbox. */
  readonly archive: string;
  readonly upgradedVersion: string;
}

/** The same package with a higher version. */
function upgradeOf(deb: string, directory: string, work: string): string {
  const tree = join(work, 'upgrade-tree');
  execFileSync('dpkg-deb', ['--raw-extract', deb, tree]);
  const control = join(tree, 'DEBIAN', 'control');
  const text = readFileSync(control, 'utf8');
  const version = `${/^Version: (.*)$/m.exec(text)?.[1]}+upgraded`;
  writeFileSync(control, text.replace(/^Version: .*$/m, `Version: ${version}`));
  execFileSync('dpkg-deb', ['--root-owner-group', '-Znone', '--build', tree, directory], { stdio: 'ignore' });
  return version;
}

/** Builds the package as the README says, and lays it out as the commands of the README find it. */
export function loadCargo(work: string): Cargo {
  const deb = buildPackage(join(work, 'build'), 'fuse4fs', {});
  const hold = join(work, 'hold');
  mkdirSync(join(hold, 'fuse4fs'), { recursive: true });
  mkdirSync(join(hold, 'upgrade'));
  cpSync(deb, join(hold, basename(deb)));
  const upgradedVersion = upgradeOf(deb, join(hold, 'upgrade'), work);
  cpSync(join(here, 'tools'), join(hold, 'tools'), { recursive: true });
  mkdirSync(join(hold, 'probe'));
  cpSync(join(here, '..', 'boot', 'sandbox-probe.cjs'), join(hold, 'probe', 'sandbox-probe.cjs'));
  cpSync(compiledAddon('forbidden-calls'), join(hold, 'probe', 'forbidden-calls.node'));
  const archive = join(work, 'cargo.tar');
  execFileSync('tar', ['--create', '--file', archive, '--directory', hold, '.']);
  return { archive, upgradedVersion };
}

/** An empty disk of this size, which takes no space. */
export function emptyDisk(path: string, mebibytes: number): string {
  writeFileSync(path, '');
  truncateSync(path, mebibytes * 2 ** 20);
  return path;
}
