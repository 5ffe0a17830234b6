import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** How a package is built, in a checkout, on a system that has the Debian packages for it. */
export const BUILD_COMMANDS: readonly string[] = Object.freeze(['npm ci', 'dpkg-buildpackage -b -us -uc']);

const top = join(import.meta.dirname, '..', '..');

/** What package-lock.json says of one npm package. */
interface LockedPackage {
  /** Only needed while developing. */
  readonly dev?: boolean;
}

/** Where the npm packages lie whose code is in the programs, or in the addon. */
export function packagesInside(): string[] {
  const { packages } = JSON.parse(readFileSync(join(top, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockedPackage>;
  };
  const bundled = Object.keys(packages).filter((path) => path !== '' && packages[path].dev !== true);
  return [...bundled, 'node_modules/node-addon-api'];
}

const packagesForBuilding = (): string[] => [...packagesInside(), 'node_modules/esbuild', 'node_modules/@esbuild'];

/**
 * Builds the Debian package of this checkout in `directory`/`name`, a copy of what git knows or would add and of what
 * the build needs of node_modules, and returns the path of the .deb.
 */
export function buildPackage(directory: string, name: string, environment: Readonly<Record<string, string>>): string {
  const copy = join(directory, name);
  mkdirSync(copy, { recursive: true });
  const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: top });
  for (const path of list.toString().split('\0').filter(Boolean)) {
    mkdirSync(dirname(join(copy, path)), { recursive: true });
    cpSync(join(top, path), join(copy, path), { verbatimSymlinks: true });
  }
  for (const path of packagesForBuilding()) cpSync(join(top, path), join(copy, path), { recursive: true });
  const [program, ...args] = BUILD_COMMANDS[1].split(' ');
  execFileSync(program, args, {
    cwd: copy,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const made = readdirSync(directory).filter((file) => /^fuse4fs_.*\.deb$/.test(file));
  if (made.length !== 1) throw new Error(`dpkg-buildpackage left ${made.join(', ') || 'nothing'} in ${directory}`);
  return join(directory, made[0]);
}

/** A file of the package with the mode, owner, and target that dpkg gives it. */
export interface PackagedFile {
  readonly mode: string;
  readonly owner: string;
  readonly path: string;
  readonly target: string | null;
}

/** What the package installs, without directories. */
export function filesOf(deb: string): PackagedFile[] {
  const lines = execFileSync('dpkg-deb', ['--contents', deb]).toString().split('\n').filter(Boolean);
  return lines
    .map((line) => {
      const [mode, owner, , , , ...rest] = line.split(/\s+/);
      const [path, target = null] = rest.join(' ').split(' -> ');
      return { mode, owner, path: path.replace(/^\.\//, '/'), target };
    })
    .filter(({ mode }) => !mode.startsWith('d'));
}
