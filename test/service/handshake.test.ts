import { closeSync, constants, fstatSync, openSync, readdirSync } from 'node:fs';
import { release } from 'node:os';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readWholeFile } from '../../native/memfd.ts';
import { SOCK_SEQPACKET, socketInfo } from '../../native/seqpacket.ts';
import {
  type FileWishes,
  HANDSHAKE_LIMITS,
  type HandshakeLimits,
  openServiceSession,
  type ServiceSession,
  validateActivation,
} from '../../service/handshake.ts';
import { Errno, SystemError } from '../../shared/errno.ts';
import { type ByteString, toByteString } from '../../shared/service-protocol/byte-string.ts';
import { ProtocolError } from '../../shared/service-protocol/protocol-error.ts';
import { type HelperStep, type HelperTranscript, ScriptedHelper } from '../support/scripted-helper.ts';

const hexOf = (text: string): string => Buffer.from(text, 'latin1').toString('hex');
const u32 = (value: number): string => value.toString(16).padStart(8, '0');
const file = (errno: number, path: string): string => `${hexOf('FILE')}${u32(errno)}${hexOf(`${path}\0`)}`;
const reply = (errno: number): string => `${hexOf('REPL')}${u32(errno)}`;
const open = (flags: number, requestFlags: number, path: string): string =>
  `${hexOf('OPEN')}${u32(flags)}${u32(0)}${u32(requestFlags)}${u32(0)}${hexOf(`${path}\0`)}`;

/** From the recorded exchange of libfuse's helper and one of its example services. */
const HELLO = '53414654 0001 0001 00000003';
const HELLO_REPLY = '4c415354 0001 0000';
const ARGUMENTS = `41524753 00000005
  00000040 0000000b  0000004b 0000000e  00000059 0000000a  00000063 00000003  00000066 00000003
  ${'00'.repeat(16)} ${hexOf('service_ll\0/srv/demo.img\0/mnt/demo\0-o\0ro\0')}`;

const SUCCESS: HelperStep = { send: reply(0) };
const HANDSHAKE_START: readonly HelperStep[] = [{ send: HELLO }, { expect: HELLO_REPLY }];
const GIFT: readonly HelperStep[] = [
  { send: file(0, 'argv'), attach: { memfd: ARGUMENTS } },
  { send: file(0, 'fusedev'), attach: { descriptors: 1 } },
];

const LOOP0 = '/dev/loop0';
const O_RDWR_EXCL = constants.O_RDWR | constants.O_EXCL;
const O_RDONLY_EXCL = constants.O_RDONLY | constants.O_EXCL;
const PLAIN: FileWishes = { tryLoop: false, quiet: false };

const MOUNT = {
  source: toByteString(LOOP0),
  mountPoint: toByteString('/mnt/demo'),
  options: ['allow_other', 'default_permissions'].map(toByteString),
  mtab: [toByteString('x-test=1')],
  msFlags: 0x406,
};
/** The commands of that mount and which answers they wait for. */
const MOUNT_COMMANDS: readonly [tag: string, packet: string][] = [
  ['TYPE', `${hexOf('TYPE')}${u32(0)}`],
  ['NAME', hexOf(`NAME${LOOP0}\0`)],
  ['MNTP', `${hexOf('MNTP')} 4000 0000 ${hexOf('/mnt/demo\0')}`],
  ['OPTS', hexOf('OPTSallow_other,default_permissions\0')],
  ['MTAB', hexOf('MTABx-test=1\0')],
  ['DOIT', `${hexOf('DOIT')} 00000406`],
];
const GOODBYE = `${hexOf('BYEE')}${u32(0)}`;

const PATIENT: HandshakeLimits = { ...HANDSHAKE_LIMITS, busyPauseMs: 1 };
const IMPATIENT: HandshakeLimits = { helloMs: 20, replyMs: 20, busyMs: 20, busyPauseMs: 1 };

const openDescriptors = (): string[] => readdirSync('/proc/self/fd').sort();

/** What `act` throws against a helper with this script, after the session was closed. */
async function failureOf(
  steps: readonly HelperStep[],
  act: (session: ServiceSession) => unknown,
  limits = PATIENT,
): Promise<{ error: Error; transcript: HelperTranscript }> {
  const helper = new ScriptedHelper(steps);
  const session = openServiceSession(helper.socket, [process.getuid?.() ?? 0], limits);
  let error: unknown = null;
  try {
    act(session);
  } catch (thrown) {
    error = thrown;
  } finally {
    session.close();
  }
  const transcript = await helper.transcript();
  if (!(error instanceof Error)) throw new Error('nothing was thrown');
  return { error, transcript };
}

/** What `act` returns against a helper whose script runs to its end. */
async function resultOf<T>(
  steps: readonly HelperStep[],
  act: (session: ServiceSession) => T,
  limits = PATIENT,
): Promise<{ result: T; transcript: HelperTranscript }> {
  const helper = new ScriptedHelper(steps);
  const session = openServiceSession(helper.socket, [process.getuid?.() ?? 0], limits);
  let result: T;
  try {
    result = act(session);
  } finally {
    session.close();
  }
  const transcript = await helper.transcript();
  expect(transcript.failure).toBeNull();
  return { result, transcript };
}

const sayHello = (session: ServiceSession) => session.receiveHello();
const takeGift = (session: ServiceSession) => session.receiveGift();
const openDevice = (session: ServiceSession) => session.openFile(toByteString(LOOP0), O_RDWR_EXCL, PLAIN);

let before: string[];

// Starting the first child opens descriptors that Node keeps.
beforeAll(async () => {
  await failureOf([{ send: 'ff', attach: { descriptors: 1 } }], sayHello);
});
beforeEach(() => {
  before = openDescriptors();
});
afterEach(() => {
  expect(openDescriptors()).toEqual(before);
});

describe('a handshake', () => {
  it('goes as it was recorded', async () => {
    const steps: HelperStep[] = [
      ...HANDSHAKE_START,
      ...GIFT,
      { expect: open(O_RDWR_EXCL, 0, LOOP0) },
      { send: file(0, LOOP0), attach: { memfd: '00'.repeat(512) } },
      ...MOUNT_COMMANDS.flatMap(([, packet]) => [{ expect: packet }, SUCCESS]),
      { expect: GOODBYE },
    ];
    const { result } = await resultOf(steps, (session) => {
      const permissions = session.receiveHello();
      const gift = session.receiveGift();
      closeSync(gift.fuseFd);
      const device = openDevice(session);
      const content = readWholeFile(device.fd, 4096);
      closeSync(device.fd);
      session.finishFiles();
      session.mount(MOUNT);
      session.goodbye(0);
      return { permissions, words: gift.arguments, forcedReadOnly: device.forcedReadOnly, bytes: content.length };
    });
    expect(result).toEqual({
      permissions: { allowOther: true },
      words: { subtype: 'service_ll', words: ['/srv/demo.img', '/mnt/demo', '-o', 'ro'] },
      forcedReadOnly: false,
      bytes: 512,
    });
  });

  it('leaves out OPTS and MTAB when there is nothing to say', async () => {
    const commands = MOUNT_COMMANDS.filter(([tag]) => tag !== 'OPTS' && tag !== 'MTAB');
    const steps = commands.flatMap(([, packet]): HelperStep[] => [{ expect: packet }, SUCCESS]);
    await resultOf(steps, (session) => session.mount({ ...MOUNT, options: [], mtab: [] }));
  });

  it('ends with a goodbye of code 1 when something fails', async () => {
    const steps: HelperStep[] = [...HANDSHAKE_START, { expect: `${hexOf('BYEE')}${u32(1)}` }];
    await resultOf(steps, (session) => {
      session.receiveHello();
      session.goodbye(1);
    });
  });

  it('ends without a word when there was no agreement', async () => {
    const { transcript } = await resultOf([{ send: `${hexOf('SAFT')} 0002 0002 00000000` }], (session) => {
      expect(() => session.receiveHello()).toThrow(ProtocolError);
      session.goodbye(1);
    });
    expect(transcript.received).toEqual([]);
  });

  it('can say goodbye to a helper that is gone', async () => {
    const { transcript } = await resultOf([...HANDSHAKE_START, { close: true }], (session) => {
      session.receiveHello();
      expect(() => session.receiveGift()).toThrow('closed the connection');
      session.goodbye(0);
    });
    expect(transcript.received).toEqual(['4c41535400010000']);
  });
});

describe('the hello', () => {
  it.each([
    ['no permission', 0, { allowOther: false }],
    ['allow_other', 1, { allowOther: true }],
    ['bits that nobody knows yet', 0xfffffffc, { allowOther: false }],
  ])('may grant %s', async (_name, flags, permissions) => {
    const steps: HelperStep[] = [{ send: `${hexOf('SAFT')} 0001 0001 ${u32(flags)}` }, { expect: HELLO_REPLY }];
    const { result } = await resultOf(steps, sayHello);
    expect(result).toEqual(permissions);
  });

  it.each(['0000 0001', '0001 0002', '0000 ffff'])('with versions %s is answered with version 1', async (versions) => {
    const steps: HelperStep[] = [{ send: `${hexOf('SAFT')} ${versions} 00000000` }, { expect: HELLO_REPLY }];
    await resultOf(steps, sayHello);
  });

  it.each([
    ['versions that are too new', `${hexOf('SAFT')} 0002 0003 00000000`, 'versions 2 to 3 offered, 1 needed'],
    ['versions that are too old', `${hexOf('SAFT')} 0000 0000 00000000`, 'versions 0 to 0 offered, 1 needed'],
    ['versions out of order', `${hexOf('SAFT')} 0002 0001 00000000`, 'versions out of order'],
    ['16 bytes', `${hexOf('SAFT')} 0001 0001 00000000 00000000`, 'packet of 16 bytes exceeds 12'],
    ['8 bytes', `${hexOf('SAFT')} 0001 0001`, 'SAFT packet, byte 8'],
    ['another magic', `${hexOf('SAFE')} 0001 0001 00000000`, 'SAFE packet, byte 0: unknown magic'],
    ['3 bytes', '534146', 'too short'],
    ['a reply instead', reply(0), 'expected first'],
  ])('with %s is not answered', async (_name, packet, text) => {
    const { error, transcript } = await failureOf([{ send: packet }], sayHello);
    expect(error.message).toContain(text);
    expect(transcript).toEqual({ received: [], failure: null });
  });

  it.each([1, 2, 64])('with %d descriptors is not answered', async (descriptors) => {
    const { error, transcript } = await failureOf([{ send: HELLO, attach: { descriptors } }], sayHello);
    expect(error.message).toContain('SAFT');
    expect(transcript.received).toEqual([]);
  });

  it('is not waited for longer than the limit', async () => {
    const { error } = await failureOf([], sayHello, IMPATIENT);
    expect(error).toMatchObject({ errno: Errno.ETIMEDOUT });
    expect(error.message).toContain('SAFT');
  });
});

describe('the command line and the FUSE device', () => {
  it.each<[string, HelperStep[], string]>([
    ['an error for argv', [{ send: file(Errno.EACCES, 'argv') }], 'FILE argv: EACCES'],
    ['argv without a descriptor', [{ send: file(0, 'argv') }], 'success without a descriptor'],
    [
      'an error with a descriptor',
      [{ send: file(5, 'argv'), attach: { descriptors: 1 } }],
      'an error with a descriptor',
    ],
    ['another path', [{ send: file(0, 'argw'), attach: { descriptors: 1 } }], 'another path, argw'],
    ['a longer path', [{ send: file(0, 'argv2'), attach: { descriptors: 1 } }], 'packet of 14 bytes exceeds 13'],
    ['a shorter path', [{ send: file(0, 'arg'), attach: { descriptors: 1 } }], 'another path, arg'],
    ['a path without NUL', [{ send: file(0, 'argv').slice(0, -2), attach: { descriptors: 1 } }], 'without final NUL'],
    ['two descriptors', [{ send: file(0, 'argv'), attach: { descriptors: 2 } }], 'EPROTO'],
    ['64 descriptors', [{ send: file(0, 'argv'), attach: { descriptors: 64 } }], 'EPROTO'],
    ['a reply instead', [{ send: reply(0), attach: { descriptors: 1 } }], 'another message (reply)'],
    ['an unknown message with a descriptor', [{ send: hexOf('WHAT'), attach: { descriptors: 1 } }], 'unknown magic'],
    ['a device as argv', [{ send: file(0, 'argv'), attach: { descriptors: 1 } }], 'not a regular file'],
    ['an empty argv', [{ send: file(0, 'argv'), attach: { memfd: '' } }], 'ARGS packet, byte 0: too short'],
    ['a damaged argv', [{ send: file(0, 'argv'), attach: { memfd: `41524753 ${u32(9)}` } }], '9 words in 8 bytes'],
    ['a huge argv', [{ send: file(0, 'argv'), attach: { zeros: 2 ** 20 + 1 } }], '1048577 bytes exceed 1048576'],
    ['an error for fusedev', [GIFT[0], { send: file(Errno.ENODEV, 'fusedev') }], 'FILE fusedev: ENODEV'],
    ['argv twice', [GIFT[0], GIFT[0]], 'another path, argv'],
    ['the end after argv', [GIFT[0], { close: true }], 'closed the connection'],
  ])('come with %s: refused', async (_name, steps, text) => {
    const { error, transcript } = await failureOf(steps, takeGift);
    expect(error.message).toContain(text);
    expect(transcript.received).toEqual([]);
  });

  it('are waited for no longer than the limit', async () => {
    const { error } = await failureOf([GIFT[0]], takeGift, IMPATIENT);
    expect(error).toMatchObject({ errno: Errno.ETIMEDOUT });
  });
});

describe('opening a file', () => {
  const device = { send: file(0, LOOP0), attach: { descriptors: 1 } };

  it.each([Errno.EPERM, Errno.EACCES, Errno.EROFS])('falls back to read-only on errno %d', async (errno) => {
    const steps = [
      { expect: open(O_RDWR_EXCL, 0, LOOP0) },
      { send: file(errno, LOOP0) },
      { expect: open(O_RDONLY_EXCL, 0, LOOP0) },
      device,
    ];
    const { result } = await resultOf(steps, openDevice);
    expect(result.forcedReadOnly).toBe(true);
    expect(fstatSync(result.fd).isCharacterDevice()).toBe(true);
    closeSync(result.fd);
  });

  it('does not ask twice for what was read-only from the start', async () => {
    const steps = [{ expect: open(O_RDONLY_EXCL, 0, LOOP0) }, { send: file(Errno.EACCES, LOOP0) }];
    const { error, transcript } = await failureOf(steps, (session) =>
      session.openFile(toByteString(LOOP0), O_RDONLY_EXCL, PLAIN),
    );
    expect(error.message).toBe('OPEN /dev/loop0: EACCES');
    expect(transcript.failure).toBeNull();
  });

  it('gives up the loop device for a helper that knows none', async () => {
    const steps = [
      { expect: open(O_RDWR_EXCL, 3, LOOP0) },
      { send: file(Errno.EINVAL, LOOP0) },
      { expect: open(O_RDWR_EXCL, 1, LOOP0) },
      device,
    ];
    const { result } = await resultOf(steps, (session) =>
      session.openFile(toByteString(LOOP0), O_RDWR_EXCL, { tryLoop: true, quiet: true }),
    );
    expect(result.forcedReadOnly).toBe(false);
    closeSync(result.fd);
  });

  it('waits for a busy device', async () => {
    const busy = [{ expect: open(O_RDWR_EXCL, 0, LOOP0) }, { send: file(Errno.EBUSY, LOOP0) }];
    const steps = [...busy, ...busy, ...busy, { expect: open(O_RDWR_EXCL, 0, LOOP0) }, device];
    const { result, transcript } = await resultOf(steps, openDevice);
    expect(transcript.received).toHaveLength(4);
    closeSync(result.fd);
  });

  it('does not wait for a busy device beyond the deadline', async () => {
    let nowMs = 0;
    const clock = () => {
      nowMs += 6_000;
      return nowMs;
    };
    const busy = [{ expect: open(O_RDWR_EXCL, 0, LOOP0) }, { send: file(Errno.EBUSY, LOOP0) }];
    const helper = new ScriptedHelper([...busy, ...busy, ...busy]);
    const session = openServiceSession(helper.socket, [process.getuid?.() ?? 0], PATIENT, clock);
    expect(() => openDevice(session)).toThrow('OPEN /dev/loop0: EBUSY');
    session.close();
    const { received, failure } = await helper.transcript();
    expect(failure).toBeNull();
    expect(received).toHaveLength(3);
  });

  it('does all of this in one request if need be', async () => {
    const steps = [
      { expect: open(O_RDWR_EXCL, 2, LOOP0) },
      { send: file(Errno.EBUSY, LOOP0) },
      { expect: open(O_RDWR_EXCL, 2, LOOP0) },
      { send: file(Errno.EINVAL, LOOP0) },
      { expect: open(O_RDWR_EXCL, 0, LOOP0) },
      { send: file(Errno.EROFS, LOOP0) },
      { expect: open(O_RDONLY_EXCL, 0, LOOP0) },
      device,
    ];
    const { result } = await resultOf(steps, (session) =>
      session.openFile(toByteString(LOOP0), O_RDWR_EXCL, { tryLoop: true, quiet: false }),
    );
    expect(result.forcedReadOnly).toBe(true);
    closeSync(result.fd);
  });

  it.each([Errno.ENOENT, Errno.EINVAL, Errno.ENOTBLK, 4095])('gives up on errno %d', async (errno) => {
    const { error } = await failureOf([{ send: file(errno, LOOP0) }], openDevice);
    expect(error).toBeInstanceOf(SystemError);
    expect(error).toMatchObject({ errno, syscall: 'OPEN' });
  });

  it.each<[string, HelperStep, string]>([
    ['another path', { send: file(0, '/dev/loop1'), attach: { descriptors: 1 } }, 'another path, /dev/loop1'],
    ['the answer to a malformed request', { send: file(Errno.EINVAL, '?') }, 'another path, ?'],
    ['no descriptor', { send: file(0, LOOP0) }, 'success without a descriptor'],
    ['three descriptors', { send: file(0, LOOP0), attach: { descriptors: 3 } }, 'EPROTO'],
    ['a simple reply', { send: reply(Errno.EINVAL) }, 'another message (reply)'],
    ['the end of the connection', { close: true }, 'OPEN: the mount helper closed the connection'],
  ])('ends the session on %s', async (_name, step, text) => {
    const { error } = await failureOf([{ expect: open(O_RDWR_EXCL, 0, LOOP0) }, step], openDevice);
    expect(error.message).toContain(text);
  });

  it('passes on paths that are no valid UTF-8', async () => {
    const path = '/srv/\xff\xfe' as ByteString;
    const steps = [{ expect: open(0, 0, path) }, { send: file(0, path), attach: { descriptors: 1 } }];
    const { result } = await resultOf(steps, (session) => session.openFile(path, 0, PLAIN));
    closeSync(result.fd);
  });

  it('does not work any more after the last file, where the kernel can see to that', async () => {
    const [major, minor] = release().split('.').map(Number);
    const kernelCanRefuse = major > 6 || (major === 6 && minor >= 16);
    const helper = new ScriptedHelper([{ expect: open(0, 0, LOOP0) }, device]);
    const session = openServiceSession(helper.socket, [process.getuid?.() ?? 0], PATIENT);
    session.finishFiles();
    const ask = () => session.openFile(toByteString(LOOP0), 0, PLAIN).fd;
    if (kernelCanRefuse) expect(ask).toThrow('closed the connection');
    else closeSync(ask());
    session.close();
    const { failure } = await helper.transcript();
    if (kernelCanRefuse) expect(failure).toContain('Operation not permitted');
    else expect(failure).toBeNull();
  });
});

describe('mounting', () => {
  const upTo = (count: number): HelperStep[] =>
    MOUNT_COMMANDS.slice(0, count).flatMap(([, packet]) => [{ expect: packet }, SUCCESS]);

  it.each(MOUNT_COMMANDS.map(([tag, packet], index) => ({ tag, packet, index })))(
    'names the packet and the error when $tag is refused',
    async ({ tag, packet, index }) => {
      const steps = [...upTo(index), { expect: packet }, { send: reply(Errno.EPERM) }];
      const { error, transcript } = await failureOf(steps, (session) => session.mount(MOUNT));
      expect(error.message).toBe(`${tag}: EPERM`);
      expect(transcript.failure).toBeNull();
      expect(transcript.received).toHaveLength(index + 1);
    },
  );

  it.each(MOUNT_COMMANDS.map(([tag], index) => ({ tag, index })))(
    'fails when the helper ends before it answers $tag',
    async ({ tag, index }) => {
      const steps: HelperStep[] = [...upTo(index), { expect: MOUNT_COMMANDS[index][1] }, { close: true }];
      const { error } = await failureOf(steps, (session) => session.mount(MOUNT));
      expect(error.message).toBe(`${tag}: the mount helper closed the connection`);
    },
  );

  it.each<[string, HelperStep]>([
    ['a file', { send: file(0, LOOP0), attach: { descriptors: 1 } }],
    ['a reply with a descriptor', { send: reply(0), attach: { descriptors: 1 } }],
    ['a reply of 12 bytes', { send: `${reply(0)}00000000` }],
    ['a hello', { send: HELLO }],
  ])('ends on %s instead of a reply', async (_name, step) => {
    const { error } = await failureOf([step], (session) => session.mount(MOUNT));
    expect(error instanceof ProtocolError || error instanceof SystemError).toBe(true);
  });

  it('does not wait for an answer beyond the limit', async () => {
    const { error } = await failureOf([], (session) => session.mount(MOUNT), IMPATIENT);
    expect(error).toMatchObject({ errno: Errno.ETIMEDOUT, syscall: 'TYPE' });
  });

  it('sends nothing that exceeds a packet', async () => {
    const options = [toByteString('x'.repeat(70_000))];
    const steps = upTo(3);
    const { error, transcript } = await failureOf(steps, (session) => session.mount({ ...MOUNT, options }));
    expect(error).toBeInstanceOf(ProtocolError);
    expect(transcript.received).toHaveLength(3);
  });
});

describe('the service socket', () => {
  it('must be a socket', () => {
    const fd = openSync('/dev/null', 'r');
    expect(() => openServiceSession(fd, [0])).toThrow(expect.objectContaining({ errno: Errno.ENOTSOCK }));
    expect(() => fstatSync(fd)).toThrow();
  });

  it('must keep packets apart', () => {
    // The test runner talks to this process over a stream socket.
    const stream = openDescriptors().map(Number).find(isStreamSocket);
    if (stream === undefined) throw new Error('this process has no stream socket to try');
    expect(() => validateActivation(stream)).toThrow(expect.objectContaining({ errno: Errno.EPROTOTYPE }));
  });

  it('must come from an accepted user, or is closed', async () => {
    const helper = new ScriptedHelper([{ send: HELLO }]);
    const stranger = (process.getuid?.() ?? 0) + 1;
    expect(() => openServiceSession(helper.socket, [stranger])).toThrow('is no mount helper');
    const { received } = await helper.transcript();
    expect(received).toEqual([]);
  });
});

function isStreamSocket(fd: number): boolean {
  try {
    const { family, type } = socketInfo(fd);
    return family === 1 && type !== SOCK_SEQPACKET;
  } catch {
    return false;
  }
}
