import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { pinPath, UnmountFlag, unmount } from '../../native/mount-api.ts';
import { socketPair } from '../../native/seqpacket.ts';
import {
  BrokerProcess,
  connect,
  keep,
  mountOn,
  runBroker,
  source,
  talkToBroker,
  unmountWish,
  type Wish,
} from '../support/broker-conversation.ts';
import { compiledTool } from '../support/compiled-tool.ts';
import { program } from '../support/fuse4fs-mount.ts';
import { packet } from '../support/scripted-service.ts';
import { mountsBelow } from '../support/test-room.ts';

/** A user without rights, played by this process, which is root: the kernel refuses nothing that the broker should. */
const USER = 65534;
const OTHER = 65533;
const MS_NOSUID_NODEV = 6;
const MS_BIND = 0x1000;
const MS_REMOUNT = 0x20;
const ALLOW_OTHER = 1;
const LAZY = 1;

let room = '';
let mountPoint = '';

beforeEach(() => {
  room = realpathSync(mkdtempSync(join(tmpdir(), 'fuse4fs-broker-')));
  mountPoint = directoryOf(USER, 'mount');
});
afterEach(() => {
  for (const point of mountsBelow(room).reverse()) unmount(point, UnmountFlag.DETACH);
  rmSync(room, { recursive: true });
});

function directoryOf(uid: number, name: string): string {
  const path = join(room, name);
  mkdirSync(path);
  chownSync(path, uid, uid);
  return path;
}

function opened(path: string, flags = constants.O_RDONLY): number {
  const fd = openSync(path, flags);
  onTestFinished(() => closeSync(fd));
  return fd;
}

function pinned(path: string): number {
  const fd = pinPath(path);
  onTestFinished(() => closeSync(fd));
  return fd;
}

/** The lines of the mount table for mounts in the room. */
const mountLines = (): string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(` ${room}/`));

function talk(wishes: readonly Wish[], uid = USER, conf = {}) {
  const descriptors = readdirSync('/proc/self/fd').length;
  const result = talkToBroker(wishes, uid, conf);
  expect(readdirSync('/proc/self/fd').length - result.fds.length, 'the broker leaves no descriptor').toBe(descriptors);
  onTestFinished(() => result.close());
  return result;
}

/** Wishes for a mount that is kept. */
const whole = (target: string, wish = {}): Wish[] => [source('name'), mountOn(pinned(target), wish), keep];

function expectRefusal(wishes: readonly Wish[], why: RegExp, uid = USER, conf = {}): void {
  const { answers, notes } = talk(wishes, uid, conf);
  expect(answers.at(-1)).toMatch(why);
  expect(notes.join('\n')).toContain(`uid ${uid}, pid ${process.pid}: refused`);
  expect(mountsBelow(room)).toEqual([]);
}

describe('a mount', () => {
  it('belongs to the user, on a directory of his, without set-uid programs and devices', () => {
    const { answers, notes } = talk(whole(mountPoint));
    expect(answers).toEqual(['0', '0', '0']);
    const [line] = mountLines();
    expect(line).toContain(` ${mountPoint} rw,nosuid,nodev,relatime `);
    expect(line).toContain(` - fuse.ext4 name rw,user_id=${USER},group_id=${USER}`);
    expect(notes[0]).toContain(`mounted name on ${mountPoint}`);
  });

  it('is nosuid and nodev whatever the user asks for', () => {
    talk(whole(mountPoint, { flags: 1 | 8 | 0x400 }));
    expect(mountLines()[0]).toContain(` ${mountPoint} ro,nosuid,nodev,noexec,noatime `);
  });

  it('is never seen when the user does not ask to keep it', () => {
    const { answers } = talk([source('name'), mountOn(pinned(mountPoint))]);
    expect(answers).toEqual(['0', '0']);
    expect(mountLines()).toEqual([]);
  });

  it.each([
    ['a bind mount', MS_BIND],
    ['a remount', MS_REMOUNT],
    ['an unknown flag', 0x40000000],
  ])('is not made with the flag of %s', (_name, flag) => {
    expectRefusal(
      [source('name'), mountOn(pinned(mountPoint), { flags: flag | MS_NOSUID_NODEV })],
      /^22 .*not allowed/,
    );
  });

  it('is for others only if fuse.conf says so', () => {
    const wish = { options: ALLOW_OTHER };
    expectRefusal([source('name'), mountOn(pinned(mountPoint), wish)], /^1 .*user_allow_other/);
    talk(whole(mountPoint, wish), USER, { userAllowOther: true });
    expect(mountLines()[0]).toContain(',allow_other');
  });

  it('has no option that the broker does not know', () => {
    expectRefusal([source('name'), mountOn(pinned(mountPoint), { options: 4 })], /^22 .*unknown option bits/);
  });

  it.each(['fuse', 'ext4\n', '../ext4', 'proc'])('is not of type %j', (subtype) => {
    expectRefusal([source('name'), mountOn(pinned(mountPoint), { subtype })], /^1 .*not for users/s);
  });

  it('is refused to a user who has as many as fuse.conf allows, and to no other', () => {
    talk(whole(mountPoint));
    const second = directoryOf(USER, 'second');
    const conf = { mountMax: 1 };
    expect(talk([source('name'), mountOn(pinned(second))], USER, conf).answers.at(-1)).toMatch(/^87 .*the limit/);
    expect(talk(whole(directoryOf(OTHER, 'other')), OTHER, conf).answers).toEqual(['0', '0', '0']);
    expect(talk(whole(second), USER, { mountMax: -1 }).answers).toEqual(['0', '0', '0']);
  });
});

describe('a mount point', () => {
  it('of somebody else is refused', () => {
    expectRefusal([source('name'), mountOn(pinned(directoryOf(OTHER, 'other')))], /^1 .*not owned by you/);
  });

  it('that everybody may write to is refused all the same', () => {
    const open = directoryOf(OTHER, 'open');
    chmodSync(open, 0o1777);
    expectRefusal([source('name'), mountOn(pinned(open))], /^1 .*not owned by you/);
  });

  it('must come with the request, after the source', () => {
    expectRefusal([source('name'), mountOn(-1)], /^22 .*missing/);
    expect(talk([mountOn(pinned(mountPoint))]).notes.join()).toContain('out of place');
  });

  it('is no file', () => {
    const file = join(room, 'file');
    writeFileSync(file, '');
    chownSync(file, USER, USER);
    expectRefusal([source('name'), mountOn(pinned(file))], /^20 .*not a directory/);
    symlinkSync('/etc', join(room, 'link'));
    expectRefusal([source('name'), mountOn(pinned(join(room, 'link')))], /^20 .*not a directory/);
  });

  it('is no socket, and no file that no directory holds', () => {
    const [socket, peer] = socketPair();
    onTestFinished(() => [socket, peer].forEach(closeSync));
    for (const fd of [socket, opened('/dev/null')])
      expectRefusal([source('name'), mountOn(fd)], /no file system that the system|which is not allowed/);
  });

  it.each(['/proc/self', '/proc', '/sys', '/dev/pts'])('is not in %s, even for its owner', (path) => {
    expectRefusal([source('name'), mountOn(pinned(realpathSync(path)))], /^1 .*type \w+, which is not allowed/, 0);
  });

  it("is not in a user's FUSE mount, of which nothing is asked", () => {
    // Nobody serves this mount: the first question to it would never be answered.
    const served = talk(whole(mountPoint));
    expect(served.answers).toEqual(['0', '0', '0']);
    const { answers } = talk([source('name'), mountOn(pinned(mountPoint))]);
    expect(answers.at(-1)).toMatch(/^1 .*type fuse.ext4, which is not allowed/);
    expect(mountLines()).toHaveLength(1);
  });

  it('in another mount namespace is refused', () => {
    execFileSync('mount', ['-t', 'tmpfs', 'hidden', mountPoint]);
    const inside = opened(mountPoint);
    chownSync(mountPoint, USER, USER);
    execFileSync('umount', ['-l', mountPoint]);
    expectRefusal([source('name'), mountOn(inside)], /^22 .*no file system that the system has mounted/);
  });

  it('that is deleted meanwhile is refused', () => {
    const gone = directoryOf(USER, 'gone');
    const fd = pinned(gone);
    rmSync(gone, { recursive: true });
    expectRefusal([source('name'), mountOn(fd), keep], /^2 /);
  });

  it('that is exchanged for a link before the mount appears stays the directory that was checked', () => {
    const broker = new BrokerProcess();
    const own = directoryOf(0, 'own');
    broker.connection.nameSource('name', -1);
    const command = { kind: 'mount', msFlags: 0, options: 0, maxRead: 0, subtype: 'ext4' } as const;
    const fuseFd = broker.connection.mount(command, pinned(own));
    onTestFinished(() => closeSync(fuseFd));
    renameSync(own, join(room, 'moved'));
    mkdirSync(join(room, 'victim'));
    symlinkSync(join(room, 'victim'), own);
    broker.connection.keep();
    broker.connection.close();
    expect(mountsBelow(room)).toEqual([join(room, 'moved')]);
  });

  it('over which something is mounted before the mount appears is given up', () => {
    const broker = new BrokerProcess();
    const own = directoryOf(0, 'own');
    broker.connection.nameSource('name', -1);
    const command = { kind: 'mount', msFlags: 0, options: 0, maxRead: 0, subtype: 'ext4' } as const;
    const fuseFd = broker.connection.mount(command, pinned(own));
    onTestFinished(() => closeSync(fuseFd));
    execFileSync('mount', ['-t', 'tmpfs', 'foreign', own]);
    expect(() => broker.connection.keep()).toThrow('something is mounted there');
    broker.connection.close();
    expect(mountLines().map((line) => line.replace(/.* - /, ''))).toEqual([expect.stringMatching(/^tmpfs foreign /)]);
  });
});

describe('a source', () => {
  const named = (wish: Wish): string => {
    talk([wish, mountOn(pinned(mountPoint)), keep]);
    return mountLines()[0].replace(/.* - fuse\.ext4 (\S+) .*/, '$1');
  };
  const file = (): string => {
    const path = join(room, 'image');
    writeFileSync(path, '');
    return path;
  };

  it('that looks like a path is the path of the file that came along', () => {
    expect(named(source('/dev/sda', opened(file())))).toBe(file());
  });

  it.each([
    ['no file', () => -1, /^22 .*without the file/],
    ['a file that is not open for reading', () => pinned(file()), /^13 .*not open for reading/],
    ['a file that is open for writing only', () => opened(file(), constants.O_WRONLY), /^13 .*not open for reading/],
  ])('that looks like a path may not come with %s', (_name, fd, why) => {
    expectRefusal([source('/dev/sda', fd())], why);
  });

  it('that looks like a path may not come with a file of another mount namespace', () => {
    execFileSync('mount', ['-t', 'tmpfs', 'hidden', mountPoint]);
    writeFileSync(join(mountPoint, 'sda'), '');
    const inside = opened(join(mountPoint, 'sda'));
    execFileSync('umount', ['-l', mountPoint]);
    expectRefusal([source('/dev/sda', inside)], /^22 .*no file system that the system has mounted/);
  });

  it.each(['-o', 'x\ny', 'x'.repeat(256)])('is not called %j', (name) => {
    expectRefusal([source(name)], /^22 .*unfit/s);
  });
});

describe('an unmount', () => {
  const target = (): number => pinned(room);
  const mountOf = (uid: number): void => {
    chownSync(mountPoint, uid, uid);
    expect(talk(whole(mountPoint), uid).answers).toEqual(['0', '0', '0']);
  };

  it.each([
    ['an ordinary', 0],
    ['a lazy', LAZY],
  ])('that is %s one takes the mount of the user away', (_name, flags) => {
    mountOf(USER);
    expect(talk([unmountWish('mount', target(), flags)]).answers).toEqual(['0']);
    expect(mountLines()).toEqual([]);
  });

  it.each([
    ['another user', () => mountOf(OTHER)],
    ['root', () => mountOf(0)],
    ['root, and no FUSE mount', () => execFileSync('mount', ['-t', 'tmpfs', 'foreign', mountPoint])],
    [
      'root, over one of the user',
      () => {
        mountOf(USER);
        execFileSync('mount', ['-t', 'tmpfs', 'foreign', mountPoint]);
      },
    ],
  ])('leaves a mount of %s alone', (_name, prepare) => {
    prepare();
    const before = mountLines();
    for (const flags of [0, LAZY])
      expect(talk([unmountWish('mount', target(), flags)]).answers[0]).toMatch(/^1 .*not your mount/);
    expect(mountLines()).toEqual(before);
  });

  it('lets no mount of somebody else come to light by an ordinary unmount', () => {
    execFileSync('mount', ['-t', 'tmpfs', 'foreign', mountPoint]);
    chownSync(mountPoint, USER, USER);
    mountOf(USER);
    expect(talk([unmountWish('mount', target())]).answers[0]).toMatch(/^16 .*lies over another mount/);
    expect(talk([unmountWish('mount', target(), LAZY)]).answers).toEqual(['0']);
    expect(mountLines().map((line) => line.replace(/.* - /, ''))).toEqual([expect.stringMatching(/^tmpfs foreign /)]);
  });

  it('refuses a mount that is in use, unless it is lazy', () => {
    mountOf(USER);
    pinned(mountPoint);
    expect(talk([unmountWish('mount', target())]).answers[0]).toMatch(/^16 .*busy/i);
    expect(mountLines()).toHaveLength(1);
    expect(talk([unmountWish('mount', target(), LAZY)]).answers).toEqual(['0']);
    expect(mountLines()).toEqual([]);
  });

  it.each(['.', '..', '../mount', 'mount/', '/proc'])('has no name like %j', (name) => {
    mountOf(USER);
    expect(talk([unmountWish(name, target())]).answers[0]).toMatch(/^22 .*no name/);
    expect(mountLines()).toHaveLength(1);
  });

  it('follows no link, and finds nothing where nothing is mounted', () => {
    mountOf(USER);
    symlinkSync(mountPoint, join(room, 'link'));
    expect(talk([unmountWish('link', target())]).answers[0]).toMatch(/^22 .*not mounted/);
    directoryOf(USER, 'empty');
    expect(talk([unmountWish('empty', target())]).answers[0]).toMatch(/^22 .*not mounted/);
    expect(mountLines()).toHaveLength(1);
  });

  it('does not tell what there is in a directory that the user may not search', () => {
    const secret = join(room, 'secret');
    mkdirSync(join(secret, 'present'), { recursive: true, mode: 0o700 });
    const answers = ['present', 'absent'].map((name) => talk([unmountWish(name, pinned(secret))]).answers);
    expect(answers).toEqual([['22 unmount present: is not mounted'], ['22 unmount absent: is not mounted']]);
  });

  it('needs the directory', () => {
    expect(talk([unmountWish('mount', -1)]).answers[0]).toMatch(/^22 /);
  });
});

describe('the session', () => {
  it.each(['fuse', 'ext4/../x', 'x'.repeat(200)])('reaches no service that is called %j', (subtype) => {
    expectRefusal([connect(subtype)], /^1 .*not for users/s);
  });

  it.each([
    ['an empty string', packet('CONN', '\0')],
    ['a string without end', packet('CONN', 'ext4')],
    ['a string that ends twice', packet('CONN', 'ext4\0\0')],
    ['no tag', packet('KE')],
    ['an unknown tag', packet('XXXX')],
    ['too long a request for its kind', packet('KEEP', 'x')],
    ['too short a request for its kind', packet('MOUN', { u32: 0 })],
    ['unknown flags', packet('UMNT', { u32: 2 }, 'x\0')],
    ['more bytes than any request has', packet('SRCE', `${'x'.repeat(5000)}\0`)],
  ])('ends without a word at %s', (_name, bytes) => {
    const { answers, notes } = talk([{ bytes, fd: -1 }, ...whole(mountPoint)]);
    expect(answers).toEqual([]);
    expect(notes.join()).toContain('session ended');
    expect(mountLines()).toEqual([]);
  });

  it.each([
    ['what was asked before', () => [source('a'), source('b')], 1],
    ['a second mount', () => [source('a'), mountOn(pinned(mountPoint)), mountOn(pinned(mountPoint)), keep], 2],
    ['a mount that was not made', () => [keep], 0],
    ['an unmount after something else', () => [source('a'), unmountWish('mount', pinned(room))], 1],
    ['anything after a refusal', () => [source('-'), source('a')], 1],
    ['anything after the end', () => [...whole(mountPoint), source('b')], 3],
    ['a descriptor where none belongs', () => [{ ...connect('ext4'), fd: pinned(room) }], 0],
  ])('ends when the user asks for %s', (_name, wishes, answered) => {
    const { answers, notes } = talk(wishes());
    expect(answers).toHaveLength(answered);
    expect(notes.join()).toContain('out of place');
  });

  it('ends when the user says nothing', () => {
    expect(talk([]).notes.join()).toContain('ETIMEDOUT');
    expect(talk([source('name')]).notes.join()).toContain('ETIMEDOUT');
  });

  it.each([2, 253])('ends when %i descriptors come with a request, and keeps none', (count) => {
    const [brokerEnd, userEnd] = socketPair();
    onTestFinished(() => [brokerEnd, userEnd].forEach(closeSync));
    const request = source('name').bytes.toString('hex');
    execFileSync(compiledTool('send-descriptors'), [String(count), request], {
      stdio: ['ignore', 'pipe', 'pipe', userEnd],
    });
    const descriptors = readdirSync('/proc/self/fd').length;
    expect(runBroker(brokerEnd, USER).join()).toContain('session ended');
    expect(readdirSync('/proc/self/fd')).toHaveLength(descriptors);
  });
});

describe('the process', () => {
  const command = { kind: 'mount', msFlags: 0, options: 0, maxRead: 0, subtype: 'ext4' } as const;
  /** A mount that waits to be kept. */
  const detached = () => {
    const broker = new BrokerProcess();
    broker.connection.nameSource('name', -1);
    const fuseFd = broker.connection.mount(command, pinned(directoryOf(0, 'own')));
    onTestFinished(() => closeSync(fuseFd));
    return { broker, fuseFd };
  };
  const expectNoMount = (fuseFd: number) =>
    expect(() => readSync(fuseFd, Buffer.alloc(1 << 16))).toThrow(expect.objectContaining({ code: 'ENODEV' }));

  it('ends when its user leaves, and the mount with it', async () => {
    const { broker, fuseFd } = detached();
    broker.connection.close();
    expect(await broker.process.ended).toEqual({ status: 0, signal: null });
    expectNoMount(fuseFd);
  });

  it('leaves no mount behind when it is killed', async () => {
    const { broker, fuseFd } = detached();
    broker.process.child.kill('SIGKILL');
    await broker.process.ended;
    expectNoMount(fuseFd);
    expect(() => broker.connection.keep()).toThrow('ended without an answer');
    broker.connection.close();
    expect(mountsBelow(room)).toEqual([]);
  });

  it('started by hand says that it is not meant to be', () => {
    const { status, stderr } = spawnSync(program('fuservicemount-broker'), { encoding: 'utf8' });
    expect(stderr).toContain('is started by the service manager');
    expect(status).toBe(1);
  });
});
