import { closeSync, openSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { addon } from '../../native/addon.ts';

/**
 * Good arguments per function: the table then spoils them one at a time. They reach no system call that
 * changes anything.
 */
const bytes = new Uint8Array(8);
const nothing = () => {};
const FD = 9999; // Not open.
const good: Record<string, unknown[]> = {
  connectSeqpacket: ['/nonexistent'],
  connectDatagram: ['/nonexistent'],
  sendDatagram: [FD, bytes],
  controlMount: [FD, 0x80086601, bytes],
  syncFilesystem: [FD],
  sendPacket: [FD, bytes, -1],
  peekPacket: [FD, 0],
  receivePacket: [FD, bytes],
  peerCredentials: [FD],
  socketInfo: [FD],
  disallowRights: [FD],
  shutdownSocket: [FD],
  descriptorFlags: [FD],
  setNonBlocking: [FD, true],
  setCloseOnExec: [FD, true],
  lockWholeFile: [FD, true],
  flockExclusive: [FD],
  createSealedMemfd: ['name', bytes],
  blockDeviceSize: [FD],
  directIoAlignment: [FD],
  setBlockSize: [FD, 512],
  readAt: [FD, 0, bytes],
  writeAt: [FD, 0, bytes],
  readAheadAt: [FD, 0, 1],
  flushDevice: [FD, nothing],
  discardRange: [FD, 0, 1, nothing],
  alignedBuffer: [4096],
  fuseIomapGrant: [FD],
  fuseIomapSupport: [FD],
  fuseCloneDevice: [FD, FD],
  fuseBackingOpen: [FD, FD],
  fuseBackingClose: [FD, 1],
  fuseSetBlockSize: [FD, 1, 4096],
  fuseSetNofs: [FD, true],
  fuseProbeStriping: [FD],
  fuseNotifyNow: [FD, new Uint8Array(16), 16],
  loopGetFree: [FD],
  loopConfigure: [FD, FD, 0, 0, 'name'],
  loopRemove: [FD, 0],
  fsopen: ['no-such-fs'],
  fsconfigFlag: [FD, 'key'],
  fsconfigString: [FD, 'key', 'value'],
  fsconfigCreate: [FD],
  fsmount: [FD, 0],
  moveMount: [FD, FD],
  contextMessages: [FD],
  forkMountGuard: [FD, 'source', '/nonexistent', 'no-such-fs', 0, '', '/nonexistent'],
  unmount: ['/nonexistent', 0],
  openPathNoFollow: ['/nonexistent'],
  setDumpable: [true],
  becomeUser: [1, 1],
  executeWithoutRings: ['/nonexistent', ['word'], ['NAME=value']],
  crc32c: [0, bytes, 0, 8],
  crc32cPortable: [0, bytes, 0, 8],
  FuseChannel: [FD, 65_536, 4096, 0, 1],
  DataPump: [FD, FD, 512, 1, 4096],
  fuseNotify: [FD, new Uint8Array(16), () => {}],
  readCoarseClock: [new Float64Array(2)],
  WritePump: [FD, FD, 512, 1, () => {}],
  PriorityWatch: [FD, () => {}],
  // It duplicates the descriptor, which must be open: standard input is.
  DevicePrograms: [0, -1, 1, 1, () => {}],
};
const WITHOUT_ARGUMENTS = [
  'trimHeap',
  'shareArena',
  'socketPair',
  'dropCapabilities',
  'setNoNewPrivileges',
  'setIoFlusher',
  'denyOutsideAccess',
  'restrictSystemCalls',
];
/** Not callable here even with good arguments: they would change this process. */
const CHANGES_THE_PROCESS = ['becomeUser', 'executeWithoutRings'];

function call(name: string, args: unknown[]): unknown {
  const callable: unknown = Reflect.get(addon, name);
  if (typeof callable !== 'function') throw new Error(`${name} is no function`);
  const isClass = /^[A-Z]/.test(name);
  return isClass ? Reflect.construct(callable, args) : Reflect.apply(callable, undefined, args);
}

/** Values of every wrong kind for an argument like `fitting`. */
function wrongValues(fitting: unknown): unknown[] {
  const wrong: unknown[] = [undefined, null, {}, [], 1n, Symbol('x'), new Uint16Array(4), new ArrayBuffer(8)];
  if (typeof fitting === 'number') wrong.push('1', true, 0.5, Number.NaN, Infinity, 2 ** 53, -(2 ** 40));
  if (typeof fitting === 'string') wrong.push(1, 'with\0nul', true);
  if (typeof fitting === 'boolean') wrong.push(0, 1, 'true');
  if (fitting instanceof Uint8Array) wrong.push('bytes', new Int8Array(8), new DataView(new ArrayBuffer(8)), 8);
  if (typeof fitting === 'function') wrong.push('function', 0);
  if (Array.isArray(fitting)) return [...wrong.filter((value) => !Array.isArray(value)), [1], ['with\0nul'], 'word'];
  return wrong;
}

describe('wrong arguments', () => {
  it('are tested for every function of the addon', () => {
    expect([...Object.keys(good), ...WITHOUT_ARGUMENTS].sort()).toEqual(Object.keys(addon).sort());
  });

  it.each(Object.entries(good))('of %s throw a TypeError that names the function', (name, args) => {
    if (!CHANGES_THE_PROCESS.includes(name)) expect(() => call(name, args)).not.toThrow();
    for (let position = 0; position < args.length; position++)
      for (const wrong of wrongValues(args[position])) {
        const spoiled = args.with(position, wrong);
        expect(() => call(name, spoiled), `argument ${position}: ${String(wrong)}`).toThrow(TypeError);
        expect(() => call(name, spoiled)).toThrow(new RegExp(`^${name}: \\w+ must be `));
      }
    expect(() => call(name, [])).toThrow(TypeError);
  });

  it.each([
    ['a FUSE request buffer below the kernel minimum', 'FuseChannel', [FD, 4096, 4096, 0, 1]],
    ['a reply buffer without room for a header', 'FuseChannel', [FD, 65_536, 8, 0, 1]],
    ['a wait of more than a millisecond', 'FuseChannel', [FD, 65_536, 4096, 1001, 1]],
    ['an alignment that is no power of two', 'DataPump', [FD, FD, 513, 1, 4096]],
    ['a pump without threads', 'DataPump', [FD, FD, 512, 0, 4096]],
    ['a channel without request buffers', 'FuseChannel', [FD, 65_536, 4096, 0, 0]],
    ['a write pump without threads', 'WritePump', [FD, FD, 512, 0, () => {}]],
    ['an ioctl whose buffer is not as long as its number says', 'controlMount', [FD, 0x80046601, new Uint8Array(8)]],
    ['user id 0', 'becomeUser', [0, 1]],
    ['group id 0', 'becomeUser', [1, 0]],
    ['the user id that means "unchanged"', 'becomeUser', [0xffffffff, 1]],
  ])('%s is refused', (_, name, args) => {
    expect(() => call(name, args)).toThrow(TypeError);
  });
});

describe('methods', () => {
  const segments = new Float64Array([0, 512, -1, 512]);

  it('of the pump refuse wrong arguments and malformed segments', () => {
    const pump = new addon.DataPump(FD, FD, 512, 1, 4096);
    onTestFinished(() => pump.close());
    const replyRead: unknown = Reflect.get(pump, 'replyRead');
    if (typeof replyRead !== 'function') throw new Error('replyRead is no function');
    const attempt = (...args: unknown[]) => expect(() => Reflect.apply(replyRead, pump, args)).toThrow(TypeError);
    attempt(-1, 0, segments, 1);
    attempt(0, 2 ** 32, segments, 1);
    attempt(0, 0, new Float32Array(2), 1);
    attempt(0, 0, segments, 3);
    attempt(0, 0, segments, 0.5);
    for (const pair of [
      [-2, 512],
      [0.5, 512],
      [2 ** 53, 512],
      [Number.NaN, 512],
      [0, 0],
      [0, -1],
      [0, 1.5],
      [0, 4097],
      [0, Number.NaN],
    ])
      attempt(0, 0, new Float64Array(pair), 1);
    attempt(0, 0, new Float64Array([0, 4096, 8192, 1]), 2);
    expect(pump.inFlight).toBe(0);
  });

  it('of the channel refuse lengths beyond their buffers', () => {
    const channel = new addon.FuseChannel(openSync('/dev/fuse', 'r+'), 65_536, 4096, 0, 1);
    onTestFinished(() => channel.close());
    for (const length of [-1, 4097, 0.5, Number.NaN]) expect(() => channel.exchange(length, 0)).toThrow(TypeError);
    expect(() => channel.send(new Uint8Array(8), 9)).toThrow(TypeError);
    expect(() => Reflect.apply(channel.start, channel, [undefined])).toThrow(TypeError);
  });

  it('work on no object of another kind', () => {
    const fd = openSync('/dev/null', 'r');
    onTestFinished(() => closeSync(fd));
    const pump = new addon.DataPump(FD, fd, 1, 1, 4096);
    const channel = new addon.FuseChannel(openSync('/dev/fuse', 'r+'), 65_536, 4096, 0, 1);
    for (const self of [pump, {}, undefined, Object.create(channel)])
      expect(() => Reflect.apply(channel.exchange, self, [0, 0])).toThrow(TypeError);
    expect(() => Reflect.apply(pump.replyRead, channel, [0, 0, segments, 1])).toThrow(TypeError);
    expect(() => Reflect.apply(addon.FuseChannel, undefined, [FD, 65_536, 4096, 0, 1])).toThrow(TypeError);
    channel.close();
    pump.close();
  });
});
