import { type SpawnSyncReturns, spawnSync } from 'node:child_process';

/** mke2fs options that fix what it draws at random: the same recipe gives the same directory trees on each run. */
export const FIXED_IDENTITY: readonly string[] = [
  ...['-U', '6a1f0b52-93c4-4d0e-8a57-0f4e2b7d9c31'],
  ...['-E', 'hash_seed=2f6d1c8e-5b3a-4c79-9e10-7d4a6b8c0e25'],
];

/** The programs may live where an ordinary user's PATH does not lead. */
function spawnProgram(program: string, args: readonly string[], input: string): SpawnSyncReturns<string> {
  const PATH = `${process.env.PATH ?? ''}:/sbin:/usr/sbin`;
  const env = { ...process.env, PATH };
  const result = spawnSync(program, args, { input, encoding: 'latin1', maxBuffer: 64 * 2 ** 20, env });
  if (result.error !== undefined) throw result.error;
  return result;
}

/** Runs one of the e2fsprogs, which must succeed, and returns what it prints. */
export function e2fsprogs(program: string, args: readonly string[], input = ''): string {
  const { status, stdout, stderr } = spawnProgram(program, args, input);
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: exit ${status}: ${stderr}`);
  return stdout;
}

/** e2fsck may repair something, but must leave nothing broken. */
export function e2fsck(image: string, ...options: readonly string[]): void {
  const { status, stdout, stderr } = spawnProgram('e2fsck', [...options, image], '');
  if (status === null || status > 1) throw new Error(`e2fsck ${options.join(' ')}: ${stdout}${stderr}`);
}

/** Makes every directory of an unmounted image compact, and those of more than two blocks indexed. */
export const rebuildDirectories = (image: string): void => e2fsck(image, '-fyD');

/** Changes an image without mounting it; commands are those of debugfs(8). */
export const debugfsWrite = (image: string, commands: readonly string[]): string =>
  e2fsprogs('debugfs', ['-w', '-f', '-', image], `${commands.join('\n')}\n`);

/** Asks debugfs one question about an image. */
export const debugfs = (image: string, command: string): string => e2fsprogs('debugfs', ['-R', command, image]);

/** Fields as `dumpe2fs -h` prints them. */
export function dumpe2fs(image: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of e2fsprogs('dumpe2fs', ['-h', image]).split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) fields.set(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
  }
  return fields;
}
