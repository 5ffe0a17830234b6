import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join, resolve } from 'node:path';

const SOURCE_DIRECTORY = import.meta.dirname;
const BUILD_DIRECTORY = resolve(SOURCE_DIRECTORY, '../../build/test-tools');

const compiled = new Map<string, string>();

/** Compiles test/support/NAME.c, once per content, and returns the program's path. */
export function compiledTool(name: string): string {
  return compile(name, '', () => []);
}

/** Compiles test/support/NAME.c to an addon that Node can load. */
export function compiledAddon(name: string): string {
  return compile(name, '.node', () => ['-shared', '-fPIC', '-isystem', nodeHeaders()]);
}

function nodeHeaders(): string {
  const script = resolve(SOURCE_DIRECTORY, '../../scripts/node-headers.mjs');
  return execFileSync(process.execPath, [script], { encoding: 'utf8' }).trim();
}

function compile(name: string, suffix: string, flags: () => string[]): string {
  const known = compiled.get(name);
  if (known !== undefined) return known;
  const source = join(SOURCE_DIRECTORY, `${name}.c`);
  const digest = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16);
  const program = join(BUILD_DIRECTORY, `${name}-${digest}${suffix}`);
  if (!existsSync(program)) {
    mkdirSync(BUILD_DIRECTORY, { recursive: true });
    const unfinished = `${program}.${process.pid}`;
    execFileSync('cc', ['-O2', '-Wall', '-Wextra', ...flags(), '-o', unfinished, source]);
    renameSync(unfinished, program);
  }
  compiled.set(name, program);
  return program;
}
