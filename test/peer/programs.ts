import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { buildSync } from 'esbuild';

const ROOT = resolve(import.meta.dirname, '../..');
const NATIVE = join(import.meta.dirname, 'native');
const BUILD = join(ROOT, 'build', 'peer');

/** Where the product's addon lies. */
declare const __ADDON_DIRECTORY__: string;

/** native/peer-io.cc, where each function is described. */
interface PeerIo {
  socketPair(): [number, number];
  send(fd: number, bytes: Uint8Array, length: number): number;
  receive(channel: number, control: number, notify: number, into: Uint8Array, timeoutMs: number): number;
  readAt(fd: number, offsetBytes: number, into: Uint8Array, start: number, length: number): number;
  writeAt(fd: number, offsetBytes: number, from: Uint8Array, start: number, length: number): number;
  alignedBuffer(bytes: number): Uint8Array;
  openLog(path: string): Uint8Array | null;
  exchange(socket: number, message: Uint8Array, done: (answer: number) => void): void;
}

/** What `receive` returns when something else than a reply waits. */
export const CONTROL_IS_READABLE = -10000;
export const NOTIFY_IS_READABLE = -10001;

const digestOf = (...contents: (string | Uint8Array)[]): string => {
  const hash = createHash('sha256');
  for (const content of contents) hash.update(content);
  return hash.digest('hex').slice(0, 16);
};

/** Makes a file once per content; beside other processes that do the same. */
function made(name: string, digest: string, suffix: string, make: (path: string) => void): string {
  const path = join(BUILD, `${name}-${digest}${suffix}`);
  if (existsSync(path)) return path;
  mkdirSync(BUILD, { recursive: true });
  const unfinished = `${path}.${process.pid}${suffix}`;
  make(unfinished);
  renameSync(unfinished, path);
  return path;
}

function nodeHeaders(): string {
  const candidates = [
    join(dirname(dirname(process.execPath)), 'include/node'),
    '/usr/include/node',
    '/usr/include/nodejs/src',
  ];
  const found = candidates.find((directory) => existsSync(join(directory, 'node_api.h')));
  if (found === undefined) throw new Error(`no node_api.h in ${candidates.join(', ')}`);
  return found;
}

function compile(compiler: string, source: string, name: string, flags: readonly string[], suffix: string): string {
  const path = join(NATIVE, source);
  const digest = digestOf(readFileSync(path), readFileSync(join(NATIVE, 'device-log.h')), flags.join(' '));
  return made(name, digest, suffix, (output) => {
    const common = ['-O2', '-fPIC', '-shared', '-Wall', '-Wextra', '-Werror', '-Wno-missing-field-initializers'];
    execFileSync(compiler, [...common, ...flags, path, '-o', output], { stdio: 'inherit' });
  });
}

export const peerIoPath = (): string =>
  compile(
    'g++',
    'peer-io.cc',
    'peer-io',
    [
      ...['-std=c++17', '-fno-exceptions', '-DNAPI_VERSION=9', '-DNAPI_DISABLE_CPP_EXCEPTIONS'],
      ...['-isystem', nodeHeaders(), '-isystem', join(ROOT, 'node_modules/node-addon-api')],
    ],
    '.node',
  );

/** To be preloaded into a process whose writes shall be recorded. */
export const recorderPath = (): string => compile('cc', 'record-device.c', 'record-device', ['-ldl'], '.so');

let service: string | null = null;

/** The service with the peer in the kernel's place, from the sources as they were when this was first asked for. */
export function serviceProgram(): string {
  service ??= bundledService();
  return service;
}

function bundledService(): string {
  const { outputFiles } = buildSync({
    absWorkingDir: ROOT,
    entryPoints: [join(import.meta.dirname, 'service-under-peer.ts')],
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node20.19',
    format: 'cjs',
    define: { __ADDON_DIRECTORY__: JSON.stringify(__ADDON_DIRECTORY__), __PEER_IO__: JSON.stringify(peerIoPath()) },
    logLevel: 'error',
  });
  const [{ contents }] = outputFiles;
  return made('service', digestOf(contents), '.cjs', (path) => writeFileSync(path, contents));
}

// Only a require call loads addons; the name that it starts from need not exist.
export const peerIo: PeerIo = createRequire(join(ROOT, 'x'))(peerIoPath()) as PeerIo;
