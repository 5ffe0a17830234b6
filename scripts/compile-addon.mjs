// Compiles native/src into one N-API addon with g++ and the headers of the installed Node; downloads nothing.
// Direct call: node scripts/compile-addon.mjs OUTPUT [extra compiler flags...]
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { nodeHeaders } from './node-headers.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const sourceDirectory = join(root, 'native', 'src');
const compiler = process.env.CXX ?? 'g++';

/** N-API 9 is the newest version that both Node 20.19 and 24 have. */
const compileFlags = [
  ['-std=c++17', '-O2', '-fPIC', '-fno-exceptions', '-fvisibility=hidden', '-fstack-protector-strong'],
  ['-Wall', '-Wextra', '-Wshadow', '-Wconversion', '-Wno-sign-conversion', '-Werror'],
  ['-DNAPI_VERSION=9', '-DNAPI_DISABLE_CPP_EXCEPTIONS', '-DNODE_GYP_MODULE_NAME=fuse4fs', '-D_FILE_OFFSET_BITS=64'],
  // A worker thread that is being terminated takes no exceptions any more: then they are dropped.
  ['-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'],
].flat();
const linkFlags = ['-shared', '-pthread', '-Wl,-z,relro,-z,now'];

/** What whoever builds a package wants besides, in the usual variables. */
const wordsOf = (variable) => (process.env[variable] ?? '').split(/\s+/).filter(Boolean);
compileFlags.push(...wordsOf('CPPFLAGS'), ...wordsOf('CXXFLAGS'));
linkFlags.push(...wordsOf('LDFLAGS'));

function addonApiHeaders() {
  const directory = join(root, 'node_modules', 'node-addon-api');
  if (!existsSync(join(directory, 'napi.h'))) throw new Error(`${directory} holds no napi.h: run npm ci first.`);
  return directory;
}

function run(args) {
  return new Promise((succeed, fail) => {
    const child = spawn(compiler, args, { stdio: 'inherit' });
    child.on('error', (error) =>
      fail(
        error.code === 'ENOENT' ? new Error(`No ${compiler} found. On Debian: apt-get install g++ libc6-dev.`) : error,
      ),
    );
    child.on('close', (code, signal) =>
      code === 0 ? succeed() : fail(new Error(`${compiler} ${args.at(-1)} ended with ${signal ?? code}`)),
    );
  });
}

const modifiedMs = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

/** Runs the tasks, a few at a time. */
async function runAll(tasks) {
  const queue = [...tasks];
  const worker = async () => {
    for (let task = queue.shift(); task !== undefined; task = queue.shift()) await task();
  };
  await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, worker));
}

/** Has `write` make a new file, then puts it in place: nobody, not even a build beside this one, sees half a file. */
async function replaceFile(target, write) {
  const unfinished = `${target}.${process.pid}`;
  try {
    await write(unfinished);
    renameSync(unfinished, target);
  } finally {
    rmSync(unfinished, { force: true });
  }
}

/** Builds the addon at `outputPath`. Objects stay in build/, in one directory per set of flags. */
export async function compileAddon(outputPath, extraFlags) {
  const includes = ['-isystem', nodeHeaders(), '-isystem', addonApiHeaders()];
  const flags = [...compileFlags, ...includes, ...extraFlags];
  const key = createHash('sha256')
    .update([compiler, process.version, ...flags].join('\0'))
    .digest('hex')
    .slice(0, 12);
  const objectDirectory = join(root, 'build', `objects-${key}`);
  mkdirSync(objectDirectory, { recursive: true });
  mkdirSync(dirname(resolve(outputPath)), { recursive: true });

  const files = readdirSync(sourceDirectory).sort();
  const headersMs = Math.max(
    0,
    ...files.filter((name) => name.endsWith('.h')).map((name) => modifiedMs(join(sourceDirectory, name))),
  );
  const units = files
    .filter((name) => name.endsWith('.cc'))
    .map((name) => ({
      source: join(sourceDirectory, name),
      object: join(objectDirectory, `${basename(name, '.cc')}.o`),
    }));
  const stale = units.filter(({ source, object }) => modifiedMs(object) <= Math.max(headersMs, modifiedMs(source)));
  await runAll(
    stale.map(
      ({ source, object }) =>
        () =>
          replaceFile(object, (path) => run([...flags, '-c', '-o', path, source])),
    ),
  );
  const objects = units.map(({ object }) => object);
  await replaceFile(outputPath, (path) => run([...linkFlags, ...extraFlags, ...objects, '-o', path]));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) {
  const [output = join(root, 'bin', 'fuse4fs.node'), ...extraFlags] = process.argv.slice(2);
  await compileAddon(output, extraFlags);
}
