import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseFuseConf } from '../../helper/fuse-conf.ts';
import { type Mounter, mountWithOldCall, RootMounter } from '../../helper/mounter.ts';
import { lockWholeFile } from '../../native/descriptor.ts';
import { UnmountFlag, unmount } from '../../native/mount-api.ts';
import { Errno } from '../../shared/errno.ts';
import { failureOption } from '../../shared/service-protocol/failure-text.ts';
import { compiledTool } from '../support/compiled-tool.ts';
import {
  type Conversation,
  type ConversationSetup,
  converse,
  goodbye,
  hello,
  mountNow,
  mountPoint,
  mtab,
  open,
  openBlockDevice,
  options,
  packet,
  source,
  type,
} from '../support/scripted-service.ts';

const QUIET = 1;
const TRYLOOP = 2;
const { O_CREAT, O_DIRECT, O_EXCL, O_NONBLOCK, O_RDWR, O_TRUNC } = constants;
const O_PATH = 0x200000;

let room: string;
let image: string;
let mount: string;
let conversations: Conversation[];

beforeEach(() => {
  room = mkdtempSync(join(tmpdir(), 'helper-session-'));
  image = join(room, 'image');
  mount = join(room, 'mount');
  writeFileSync(image, 'content');
  truncateSync(image, 1 << 20);
  mkdirSync(mount);
  conversations = [];
});

afterEach(() => {
  for (const conversation of conversations) conversation.close();
  for (let left = mountLines(); left.length > 0; left = mountLines()) unmount(mount, UnmountFlag.DETACH);
  rmSync(room, { recursive: true });
});

/** Talks about `image` and `mount`; `packets` come after the hello. */
function talk(packets: readonly Buffer[], setup: Partial<ConversationSetup> = {}): Conversation {
  const conversation = converse({ words: [image, mount], ...setup, packets: [hello, ...packets] });
  conversations.push(conversation);
  return conversation;
}

function mountLines(): string[] {
  const table = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return table.filter((line) => line.includes(` ${room}/`));
}

/** A caller without root whose mounts are never made. */
const powerless: Mounter = {
  isRoot: false,
  openFuseDevice: () => openSync('/dev/fuse', constants.O_RDWR),
  mount: () => {
    throw new Error('not expected to mount');
  },
};

const settings = (): Buffer[] => [type(0), source(image), mountPoint(mount)];

describe('hello', () => {
  it('offers root version 1 and both abilities, then sends arguments and device unasked', () => {
    const { received } = talk([]);
    expect(received.map((answer) => answer.text)).toEqual(['SAFT 1 1 3', 'FILE 0 argv', 'FILE 0 fusedev']);
    expect(received.map((answer) => answer.fd >= 0)).toEqual([false, true, true]);
    expect(readlinkSync(`/proc/self/fd/${received[2].fd}`)).toBe('/dev/fuse');
  });

  it('offers other users allow_other only where fuse.conf permits it', () => {
    const conf = parseFuseConf('user_allow_other\n', () => {});
    expect(talk([], { mounter: powerless }).received[0].text).toBe('SAFT 1 1 0');
    expect(talk([], { mounter: powerless, fuseConf: conf }).received[0].text).toBe('SAFT 1 1 1');
  });

  it('hands over subtype and words in a file that nobody can change', () => {
    const { received } = talk([], { words: [image, mount, '-o', 'ro'], subtype: 'ext4' });
    const fd = received[1].fd;
    const bytes = Buffer.alloc(4096);
    const content = bytes.toString('latin1', 0, readSync(fd, bytes, 0, bytes.length, 0));
    expect(content.slice(0, 8)).toBe('ARGS\0\0\0\x05');
    expect(content.endsWith(`ext4\0${image}\0${mount}\0-o\0ro\0`)).toBe(true);
    expect(() => writeFileSync(fd, 'x')).toThrow(/EPERM/);
  });

  const badHellos: readonly (readonly [string, Buffer, RegExp])[] = [
    ['version 2', packet('LAST', { u16: 2 }, { u16: 0 }), /unsupported protocol version 2/],
    ['version 0', packet('LAST', { u16: 0 }, { u16: 0 }), /unsupported protocol version 0/],
    ['nonzero padding', packet('LAST', { u16: 1 }, { u16: 1 }), /nonzero value in padding field/],
    ['a wrong size', packet('LAST', { u16: 1 }), /LAST/],
    ['another command', packet('TYPE', { u32: 0 }), /out of place/],
    ['a malformed command', packet('TYPE'), /TYPE/],
    ['a goodbye', goodbye(0), /out of place/],
    ['no known tag', packet('NOPE', { u32: 0 }), /unknown magic/],
    ['a short packet', packet('LA'), /too short/],
  ];
  it.each(badHellos)('ends without any answer when the reply has %s', (_what, bytes, message) => {
    const conversation = converse({ words: [image, mount], packets: [bytes] });
    conversations.push(conversation);
    expect(conversation.received.map((answer) => answer.text)).toEqual(['SAFT 1 1 3']);
    expect(conversation.status).toBe(1);
    expect(conversation.messages.join('\n')).toMatch(message);
  });

  it('gives up on a service that never answers', () => {
    const conversation = converse({ words: [image, mount], packets: [], timeouts: { helloMs: 1 } });
    conversations.push(conversation);
    expect(conversation.status).toBe(1);
    expect(conversation.messages).toEqual(['service did not answer in time (hello sent)']);
  });

  it('ends when the service sends a descriptor of its own', () => {
    const fd = openSync(image, 'r');
    try {
      const conversation = converse({ words: [image, mount], packets: [hello], descriptor: fd });
      expect(conversation.messages).toEqual(['service sent a descriptor']);
      expect(conversation.status).toBe(1);
    } finally {
      closeSync(fd);
    }
  });
});

describe('open', () => {
  it('passes the named file on, opened as asked, and echoes its path', () => {
    const { answers, received } = talk([open(image), open(image, { flags: O_RDWR | O_EXCL })]);
    expect(answers).toEqual([`FILE 0 ${image}`, `FILE 0 ${image}`]);
    expect(readSync(received[3].fd, Buffer.alloc(7))).toBe(7);
    expect(() => writeFileSync(received[3].fd, 'x')).toThrow(/EBADF/);
    expect(flagsOf(received[4].fd) & (O_RDWR | O_NONBLOCK)).toBe(O_RDWR);
  });

  it('passes on what tells of memory pressure, named or not, and for writing even where the source is not', () => {
    const pressure = open('/proc/pressure/memory', { flags: O_RDWR | O_NONBLOCK });
    const { answers, received } = talk([pressure], { words: [image, mount, '-o', 'ro'] });
    expect(answers).toEqual(['FILE 0 /proc/pressure/memory']);
    expect(flagsOf(received[3].fd) & (O_RDWR | O_NONBLOCK)).toBe(O_RDWR | O_NONBLOCK);
  });

  it('passes on nothing that only looks like it', () => {
    const paths = ['/proc/pressure/../uptime', '/sys/fs/cgroup/../../../proc/fuse4fs@x.service/memory.pressure'];
    const { answers } = talk(paths.map((path) => open(path)));
    expect(answers).toEqual(paths.map((path) => `FILE ${Errno.EPERM} ${path}`));
  });

  it('keeps O_NONBLOCK only where it was asked for', () => {
    const { received } = talk([open(image, { flags: O_NONBLOCK }), open(image)]);
    expect(flagsOf(received[3].fd) & O_NONBLOCK).toBe(O_NONBLOCK);
    expect(flagsOf(received[4].fd) & O_NONBLOCK).toBe(0);
  });

  it('answers malformed requests with EINVAL and the path if there is one', () => {
    const start = [{ u32: 0 }, { u32: 0 }, { u32: 0 }, { u32: 0 }];
    const { answers, status } = talk([
      packet('OPEN', ...start, '\0'),
      packet('OPEN', ...start, image),
      packet('OPEN', { u32: 0 }),
      open(image, { requestFlags: 4 }),
      open(image, { requestFlags: 0x80000000 }),
      packet('OPEN', ...start, `${image}\0junk\0`),
    ]);
    expect(answers).toEqual([
      'FILE 22 ?',
      'FILE 22 ?',
      'FILE 22 ?',
      `FILE 22 ${image}`,
      `FILE 22 ${image}`,
      `FILE 0 ${image}`,
    ]);
    expect(status).toBe(1);
  });

  it('refuses every path that is not named on the command line', () => {
    writeFileSync(join(room, 'other'), '');
    const paths = [
      '/etc/passwd',
      join(room, 'other'),
      `${room}/./image`,
      `${image}/../image`,
      'image',
      room,
      '/dev/sda',
    ];
    const { answers } = talk(paths.map((path) => open(path)));
    expect(answers).toEqual(paths.map((path) => `FILE 1 ${path}`));
    expect(talk([openBlockDevice('/dev/loop0')]).answers).toEqual(['FILE 1 /dev/loop0']);
  });

  it('opens nothing for writing when the caller wants a read-only mount', () => {
    const requests = [open(image, { flags: O_RDWR }), open(image)];
    const answersWith = (...options: string[]) => talk(requests, { words: [image, mount, ...options] }).answers;
    expect(answersWith('-o', 'noatime,ro')).toEqual([`FILE 30 ${image}`, `FILE 0 ${image}`]);
    expect(answersWith('-o', 'ro', '-orw')).toEqual([`FILE 0 ${image}`, `FILE 0 ${image}`]);
  });

  it('opens what is the whole value of an option', () => {
    const named = ['journal', 'cache', 'third', 'fourth,fifth'].map((name) => join(room, name));
    for (const path of [...named, join(room, 'fourth')]) writeFileSync(path, '');
    const list = `ro,journal_path=${named[0]},x=${named[3].replace(',', '\\,')}`;
    const words = [image, mount, '-o', list, `--cache=${named[1]}`, `-J${named[2]}`];
    const { answers } = talk(
      [...named, join(room, 'fourth')].map((path) => open(path)),
      { words },
    );
    expect(answers).toEqual([...named.map((path) => `FILE 0 ${path}`), `FILE 1 ${join(room, 'fourth')}`]);
  });

  it('opens what fuse.conf permits for this subtype, but not through links that lead elsewhere', () => {
    mkdirSync(join(room, 'shared/deep'), { recursive: true });
    for (const name of ['shared/a', 'shared/deep/b', 'secret']) writeFileSync(join(room, name), '');
    symlinkSync(join(room, 'secret'), join(room, 'shared/link'));
    symlinkSync(join(room, 'shared/a'), join(room, 'shared/inside'));
    const fuseConf = parseFuseConf(`service_open_path = test ${room}/sha*\n`, () => {});
    const paths = ['shared/a', 'shared/deep/b', 'shared/inside', 'shared/link', 'shared/../secret', 'secret'];
    const wishes = paths.map((name) => open(`${room}/${name}`));
    expect(talk(wishes, { fuseConf }).answers.map(errnoIn)).toEqual([0, 0, 0, 1, 1, 1]);
    expect(talk(wishes, { fuseConf, subtype: 'foreign' }).answers.map(errnoIn)).toEqual([1, 1, 1, 1, 1, 1]);
  });

  it.each([
    ['O_CREAT', O_CREAT],
    ['O_CREAT|O_EXCL', O_CREAT | O_EXCL],
    ['O_TRUNC', O_RDWR | O_TRUNC],
    ['O_PATH', O_PATH],
    ['O_WRONLY|O_RDWR', 3],
    ['unknown bits', 0x80000000],
  ])('refuses %s', (_name, flags) => {
    const absent = join(room, 'absent');
    const { answers } = talk([open(absent, { flags }), open(image, { flags })], { words: [image, absent] });
    expect(answers).toEqual([`FILE 22 ${absent}`, `FILE 22 ${image}`]);
    expect(existsSync(absent)).toBe(false);
    expect(readFileSync(image, 'latin1').startsWith('content')).toBe(true);
  });

  it('does not hang on a FIFO, nor passes one on, nor a directory, nor a character device', () => {
    const fifo = join(room, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const words = [fifo, mount, '/dev/null'];
    const { answers, received } = talk(
      words.map((path) => open(path)),
      { words },
    );
    expect(answers).toEqual(words.map((path) => `FILE 13 ${path}`));
    expect(received.slice(3).every((answer) => answer.fd === -1)).toBe(true);
  });

  it('says why an open failed, except when asked to be quiet', () => {
    const absent = join(room, 'absent');
    const words = [absent, mount];
    const loud = talk([open(absent)], { words });
    const quiet = talk([open(absent, { requestFlags: QUIET })], { words });
    expect(loud.answers).toEqual([`FILE 2 ${absent}`]);
    expect(quiet.answers).toEqual([`FILE 2 ${absent}`]);
    expect(loud.messages[0]).toBe(`${absent}: no such file or directory`);
    expect(quiet.messages.filter((text) => text.startsWith(absent))).toEqual([]);
  });

  it('answers ENOTBLK when a block device was wanted and a file found', () => {
    expect(talk([openBlockDevice(image)]).answers).toEqual([`FILE 15 ${image}`]);
  });

  it('keeps the session alive after a refusal', () => {
    expect(talk([open('/etc/passwd'), open(image)]).answers.map(errnoIn)).toEqual([1, 0]);
  });
});

describe('loop devices', () => {
  const wish = (flags: number) => open(image, { flags, requestFlags: TRYLOOP });

  it('stand in for a regular file, once for all requests of a session, and go with their last user', () => {
    const conversation = talk([wish(O_RDWR | O_EXCL), wish(O_RDWR | O_DIRECT)]);
    expect(conversation.answers).toEqual([`FILE 0 ${image}`, `FILE 0 ${image}`]);
    const [first, second] = conversation.received.slice(3).map((answer) => answer.fd);
    expect(fstatSync(first).isBlockDevice()).toBe(true);
    expect(fstatSync(second).rdev).toBe(fstatSync(first).rdev);
    expect(flagsOf(second) & O_DIRECT).toBe(O_DIRECT);
    expect(flagsOf(first) & O_DIRECT).toBe(0);
    const device = readlinkSync(`/proc/self/fd/${first}`).replace('/dev/', '');
    const attribute = (name: string) => readFileSync(`/sys/block/${device}/loop/${name}`, 'utf8').trim();
    expect(attribute('backing_file')).toBe(image);
    expect(attribute('autoclear')).toBe('1');
    conversation.close();
    conversations.pop();
    expect(loopsOver(image)).toEqual([]);
  });

  it('hold the lock that servers of the plain file ask for, and respect it', () => {
    const fd = openSync(image, 'r+');
    const served = talk([wish(O_RDWR | O_EXCL)]);
    expect(served.answers).toEqual([`FILE 0 ${image}`]);
    expect(() => lockWholeFile(fd, true)).toThrow(expect.objectContaining({ errno: Errno.EAGAIN }));
    served.close();
    conversations.pop();
    lockWholeFile(fd, true);
    expect(talk([wish(O_RDWR)]).answers).toEqual([`FILE ${Errno.EBUSY} ${image}`]);
    closeSync(fd);
  });

  it('are read-only for who reads only', () => {
    const { received } = talk([wish(0)]);
    const device = readlinkSync(`/proc/self/fd/${received[3].fd}`).replace('/dev/', '');
    expect(readFileSync(`/sys/block/${device}/ro`, 'utf8').trim()).toBe('1');
  });

  it('take a block size when a block device is wanted', () => {
    const { answers, received } = talk([openBlockDevice(image, { requestFlags: TRYLOOP, blockSize: 4096 })]);
    expect(answers).toEqual([`FILE 0 ${image}`]);
    const device = readlinkSync(`/proc/self/fd/${received[3].fd}`);
    expect(execFileSync('blockdev', ['--getbsz', device], { encoding: 'utf8' }).trim()).toBe('4096');
  });

  it('are refused for a file that already backs one', () => {
    const device = execFileSync('losetup', ['--find', '--show', image], { encoding: 'utf8' }).trim();
    try {
      const { answers, messages } = talk([wish(O_RDWR)]);
      expect(answers).toEqual([`FILE 16 ${image}`]);
      expect(messages.some((text) => text.startsWith('loop'))).toBe(false);
    } finally {
      execFileSync('losetup', ['--detach', device]);
    }
  });

  it.each([
    ['shorter than a sector', 511],
    ['no whole number of sectors', 1000],
    ['empty', 0],
  ])('are not made over a file that is %s', (_what, size) => {
    truncateSync(image, size);
    const { answers, received } = talk([wish(O_RDWR)]);
    expect(answers).toEqual([`FILE 0 ${image}`]);
    expect(fstatSync(received[3].fd).isFile()).toBe(true);
  });

  it('are not made for callers without root', () => {
    const { received } = talk([wish(0)], { mounter: powerless });
    expect(fstatSync(received[3].fd).isFile()).toBe(true);
  });

  it('are gone when the service failed', () => {
    const conversation = talk([wish(O_RDWR), goodbye(1)]);
    conversation.close();
    conversations.pop();
    expect(loopsOver(image)).toEqual([]);
  });
});

describe('settings', () => {
  it('are taken once each', () => {
    const { answers } = talk([
      ...[type(0), type(0)],
      ...[source('a'), source('b')],
      ...[mountPoint(mount), mountPoint(mount)],
      ...[options('default_permissions'), options('default_permissions')],
      ...[mtab('x-a=1'), mtab('x-a=1')],
    ]);
    expect(answers).toEqual([
      'REPL 0',
      'REPL 22',
      'REPL 0',
      'REPL 22',
      'REPL 0',
      'REPL 22',
      'REPL 0',
      'REPL 22',
      'REPL 0',
      'REPL 22',
    ]);
  });

  it('of wrong form are refused, and can be sent again', () => {
    const { answers } = talk([
      packet('TYPE', { u16: 0 }),
      type(2),
      type(0),
      packet('NAME', '\0'),
      packet('NAME', 'a'),
      source('a'),
      packet('MNTP', { u16: 0x4000 }, { u16: 1 }, `${mount}\0`),
      mountPoint(mount, 0x6000),
      packet('MNTP', { u16: 0x4000 }, { u16: 0 }, '\0'),
      mountPoint(mount),
      packet('OPTS', '\0'),
      packet('MTAB', 'x-a'),
      packet('DOIT'),
    ]);
    expect(answers.map(errnoIn)).toEqual([22, 22, 0, 22, 22, 0, 22, 22, 22, 0, 22, 22, 22]);
  });

  it('of the wrong kind of mount point name the kind', () => {
    expect(talk([mountPoint(mount, 0x8000), mountPoint(mount, 0)]).answers.map(errnoIn)).toEqual([21, 0]);
    expect(talk([mountPoint(image, 0x4000), mountPoint(image, 0x8000)]).answers.map(errnoIn)).toEqual([20, 0]);
  });

  it('do not take a mount point that is not on the command line, or a symbolic link, or absent', () => {
    const link = join(room, 'link');
    const absent = join(room, 'absent');
    symlinkSync(mount, link);
    const words = [image, link, absent, '/dev/null', '-o', mount];
    const wishes = [room, link, absent, '/dev/null', mount, '-o'].map((path) => mountPoint(path, 0));
    expect(talk(wishes, { words }).answers.map(errnoIn)).toEqual([22, 40, 2, 13, 22, 22]);
  });

  it('resolve links in front of the mount point', () => {
    symlinkSync(room, join(room, 'way'));
    const word = join(room, 'way/mount');
    const { status } = talk([type(0), source('s'), mountPoint(word), mountNow(0), goodbye(0)], {
      words: [image, word],
    });
    expect(status).toBe(0);
    expect(mountLines().map((line) => line.split(' ')[4])).toEqual([mount]);
  });

  it.each([
    'fd=3',
    'rootmode=40000',
    'user_id=0',
    'group_id=0',
    'source=/x',
    'subtype=x',
    'allow_root',
    'unknown',
    'max_read=x',
    'root_nodeid=2x',
    'max_read',
    'default_permissions=1',
    'context="a\nb"',
    `context=${'c'.repeat(256)}`,
    `default_permissions,${'max_read=4096,'.repeat(200)}`,
  ])('do not take the kernel option %.40s', (list) => {
    expect(talk([options(list)]).answers).toEqual(['REPL 22']);
  });

  it('let only root, or whom fuse.conf permits, allow others in', () => {
    const fuseConf = parseFuseConf('user_allow_other\n', () => {});
    expect(talk([options('default_permissions,allow_other')]).answers).toEqual(['REPL 0']);
    expect(talk([options('default_permissions,allow_other')], { mounter: powerless }).answers).toEqual(['REPL 1']);
    expect(talk([options('allow_root')], { mounter: powerless }).answers).toEqual(['REPL 1']);
    expect(talk([options('allow_other')], { mounter: powerless, fuseConf }).answers).toEqual(['REPL 0']);
  });

  it('keep the mount table clean', () => {
    const words = [image, mount, '-o', 'user=alice,ro'];
    const lists = ['x-a=1,-n', 'user=alice'].map(mtab);
    expect(talk([lists[0]], { words }).answers).toEqual(['REPL 0']);
    expect(talk([lists[1]], { words }).answers).toEqual(['REPL 0']);
    for (const list of ['user=bob', 'uhelper=x', 'x-a\nb', 'ro', 'user=alice,suid'])
      expect(talk([mtab(list)], { words }).answers, list).toEqual(['REPL 22']);
  });

  it.each(['-o', 'a\nb', 'n'.repeat(256)])('do not take the source %.20j', (name) => {
    expect(talk([source(name)]).answers).toEqual(['REPL 22']);
  });

  it('let only root ask for fuseblk', () => {
    expect(talk([type(1)]).answers).toEqual(['REPL 0']);
    expect(talk([type(1)], { mounter: powerless }).answers).toEqual(['REPL 1']);
  });

  it('accept the wish for iomap where it is optional, and refuse it where it can not be met', () => {
    const { answers } = talk([packet('IOMA', { u16: 0x503f }, { u16: 0 })], { mounter: powerless });
    expect(answers).toEqual(['REPL 0']);
    expect(talk([packet('IOMA', { u16: 0x5021 }, { u16: 0 })], { mounter: powerless }).answers).toEqual(['REPL 95']);
    const bad = talk([packet('IOMA', { u16: 1 }, { u16: 0 }), open(image)]);
    expect(bad.answers).toEqual(['REPL 22']);
  });
});

describe('mounting', () => {
  it('does what was asked in the usual order', () => {
    const asked = [...settings(), options('allow_other,default_permissions'), mtab('x-test=1'), mountNow(0x406)];
    const { status, answers, messages } = talk([...asked, goodbye(0)], { subtype: 'sub' });
    expect(answers).toEqual(Array(6).fill('REPL 0'));
    expect(messages).toEqual([]);
    expect(status).toBe(0);
    expect(mountLines()).toHaveLength(1);
    const [line] = mountLines();
    expect(line).toContain(`${mount} rw,nosuid,nodev,noatime `);
    expect(line).toContain(` - fuse.sub ${image} rw,user_id=0,group_id=0,default_permissions,allow_other`);
  });

  it('does not depend on the order of the settings, nor on a type', () => {
    const asked = [options('default_permissions'), source('name'), mountPoint(mount), type(0), mountNow(6)];
    expect(talk([...asked, goodbye(0)]).status).toBe(0);
    expect(mountLines()[0]).toContain('- fuse.test name rw,user_id=0,group_id=0,default_permissions');
    unmount(mount, UnmountFlag.DETACH);
    expect(talk([source('name'), mountPoint(mount), mountNow(0), goodbye(0)]).status).toBe(0);
    expect(mountLines()[0]).toContain('- fuse.test name rw,user_id=0,group_id=0');
  });

  it('gives the service the descriptor that serves the mount', () => {
    const { received, status } = talk([...settings(), mountNow(6), goodbye(0)]);
    expect(status).toBe(0);
    const request = Buffer.alloc(1 << 17);
    const length = readSync(received[2].fd, request);
    const FUSE_INIT = 26;
    expect(request.readUInt32LE(0)).toBe(length);
    expect(request.readUInt32LE(4)).toBe(FUSE_INIT);
  });

  it.each([
    [0x1, 'ro,relatime', 'ro,'],
    [0x2 | 0x4 | 0x8, 'rw,nosuid,nodev,noexec,relatime', 'rw,'],
    [0x10 | 0x80, 'rw,relatime', 'rw,sync,dirsync,'],
    [0x100, 'rw,relatime,nosymfollow', 'rw,'],
    [0x400 | 0x800, 'rw,noatime,nodiratime', 'rw,'],
  ])('translates flags %i into %s', (flags, ofMount, ofSuperblock) => {
    expect(talk([...settings(), mountNow(flags), goodbye(0)]).status).toBe(0);
    const fields = mountLines()[0].split(' ');
    expect(fields[5]).toBe(ofMount);
    expect(`${fields.at(-1)},`.startsWith(ofSuperblock)).toBe(true);
  });

  it.each([
    ['MS_REMOUNT', 0x20],
    ['MS_MANDLOCK', 0x40],
    ['MS_BIND', 0x1000],
    ['MS_MOVE', 0x2000],
    ['MS_REC', 0x4000],
    ['MS_PRIVATE', 0x40000],
    ['MS_SHARED', 0x100000],
    ['MS_KERNMOUNT', 0x400000],
  ])('refuses %s', (_name, flag) => {
    const { answers, status } = talk([source('/etc'), mountPoint(mount), mountNow(6 | flag), goodbye(0)]);
    expect(answers).toEqual(['REPL 0', 'REPL 0', 'REPL 22']);
    expect(status).toBe(1);
    expect(mountLines()).toEqual([]);
  });

  it('needs source and mount point first', () => {
    const { answers } = talk([mountNow(6), source('s'), mountNow(6), mountPoint(mount), mountNow(6), goodbye(0)]);
    expect(answers.map(errnoIn)).toEqual([22, 0, 22, 0, 0]);
    expect(mountLines()).toHaveLength(1);
  });

  it('happens once; then nothing but goodbye is accepted', () => {
    const late = [
      mountNow(6),
      open(image),
      openBlockDevice(image),
      type(0),
      options('x'),
      mountPoint(mount),
      source('s'),
    ];
    const { answers, status } = talk([...settings(), mountNow(6), ...late, goodbye(0)]);
    expect(answers.slice(4)).toEqual(['REPL 22', `FILE 1 ${image}`, `FILE 1 ${image}`, ...Array(4).fill('REPL 22')]);
    expect(status).toBe(0);
    expect(mountLines()).toHaveLength(1);
  });

  it('forces nosuid and nodev on callers without root', () => {
    const flags: number[] = [];
    const mounter: Mounter = {
      ...powerless,
      mount: (_fd, request) => {
        flags.push(request.msFlags);
        return { keep: () => {}, abandon: () => {} };
      },
    };
    expect(talk([...settings(), mountNow(0), goodbye(0)], { mounter }).status).toBe(0);
    expect(flags).toEqual([6]);
  });

  it('works on a regular file', () => {
    const words = [image, image];
    const { status } = talk([source('s'), mountPoint(image, 0x8000), mountNow(6), goodbye(0)], { words });
    try {
      expect(status).toBe(0);
      expect(mountLines()[0].split(' ')[4]).toBe(image);
    } finally {
      unmount(image, UnmountFlag.DETACH);
    }
  });

  it('lets the kernel read further ahead', () => {
    expect(talk([...settings(), mountNow(6), goodbye(0)]).status).toBe(0);
    expect(readAheadKib(mountLines()[0])).toBe('2048');
  });

  it('claims a block device only if the caller named it', () => {
    const device = execFileSync('losetup', ['--find', '--show', image], { encoding: 'utf8' }).trim();
    try {
      const asked = [type(1), source(device), mountPoint(mount), mountNow(6), goodbye(0)];
      expect(talk(asked).answers.at(-1)).toBe('REPL 1');
      expect(talk(asked, { words: [device, mount] }).status).toBe(0);
      expect(mountLines()[0]).toContain(`- fuseblk.test ${device} `);
    } finally {
      if (mountLines().length > 0) unmount(mount, 0);
      execFileSync('losetup', ['--detach', device]);
    }
  });

  describe('with the old system call', () => {
    const report = { error: () => {}, detail: () => {} };
    const root = new RootMounter(report);
    const mounter: Mounter = {
      isRoot: true,
      openFuseDevice: () => root.openFuseDevice(),
      mount: (fuseFd, request) => mountWithOldCall(fuseFd, request, report),
    };
    const asked = () => [...settings(), options('default_permissions,max_read=65536'), mountNow(0x406)];

    it('passes options and flags on as well', () => {
      expect(talk([...asked(), goodbye(0)], { mounter }).status).toBe(0);
      const [line] = mountLines();
      expect(line).toContain(`${mount} rw,nosuid,nodev,noatime `);
      expect(line).toContain(`- fuse.test ${image} rw,user_id=0,group_id=0,default_permissions,max_read=65536`);
      expect(readAheadKib(line)).toBe('2048');
    });

    it('takes the mount away again when its service fails', () => {
      expect(talk([...asked(), goodbye(1)], { mounter }).status).toBe(1);
      expect(mountLines()).toEqual([]);
    });
  });

  it('is not seen by anybody before the service has taken over', () => {
    const seen: number[] = [];
    const report = { error: () => {}, detail: () => {} };
    const root = new RootMounter(report);
    const mounter: Mounter = {
      isRoot: true,
      openFuseDevice: () => root.openFuseDevice(),
      mount: (fuseFd, request) => {
        const live = root.mount(fuseFd, request);
        seen.push(mountLines().length);
        return live;
      },
    };
    expect(talk([...settings(), mountNow(6), goodbye(0)], { mounter }).status).toBe(0);
    expect([...seen, mountLines().length]).toEqual([0, 1]);
  });

  it('does not wait for a service that wants to be waited for', () => {
    const root = new RootMounter({ error: () => {}, detail: () => {} });
    const mounter: Mounter = {
      isRoot: true,
      openFuseDevice: () => root.openFuseDevice(),
      mount: (fuseFd, request) => {
        execFileSync(compiledTool('wait-for-init'), { stdio: ['ignore', 'ignore', 'inherit', fuseFd] });
        return root.mount(fuseFd, request);
      },
    };
    expect(talk([...settings(), mountNow(6), goodbye(0)], { mounter }).status).toBe(0);
    expect(mountLines()).toHaveLength(1);
  });

  it('fails when the mount point has gone in the meantime', () => {
    const root = new RootMounter({ error: () => {}, detail: () => {} });
    const mounter: Mounter = {
      isRoot: true,
      openFuseDevice: () => root.openFuseDevice(),
      mount: (fuseFd, request) => {
        const live = root.mount(fuseFd, request);
        rmSync(mount, { recursive: true });
        return live;
      },
    };
    const { status, messages } = talk([...settings(), mountNow(6), goodbye(0)], { mounter });
    expect(status).toBe(1);
    expect(messages).toEqual(['move_mount: ENOENT']);
  });

  it('stops short of the mount when it is a fake one', () => {
    const { answers, status } = talk([...settings(), mountNow(6), goodbye(1)], { fake: true });
    expect(answers.map(errnoIn)).toEqual([0, 0, 0, 125]);
    expect(status).toBe(0);
    expect(mountLines()).toEqual([]);
  });

  it('does not count as done before a good goodbye', () => {
    for (const end of [[goodbye(1)], [goodbye(256)], [goodbye(2)], [packet('BYEE')], [packet('NOPE')], []]) {
      expect(talk([...settings(), mountNow(6), ...end]).status).toBe(1);
      expect(mountLines()).toEqual([]);
    }
  });
});

describe('the end', () => {
  it.each([0, 1, 2, 255, 256, 512])('is a failure when the service says %i without a mount', (code) => {
    const { status, messages } = talk([goodbye(code)]);
    expect(status).toBe(1);
    expect(messages).toEqual([`service gave up: exit code ${code}`]);
  });

  it('repeats what was refused last, which is often the reason', () => {
    const { messages } = talk([open('/etc/passwd'), goodbye(1)]);
    expect(messages.at(-1)).toBe(
      'service gave up: exit code 1, last refusal: open /etc/passwd: not named on the command line',
    );
  });

  it("is explained in the service's own words, if it has any", () => {
    const text = 'fuse4fs: group 3, inode table checksum\nwrong';
    const { answers, messages } = talk([mtab(failureOption(text)), goodbye(1)], { logHint: 'see the log' });
    expect(answers).toEqual(['REPL 0']);
    expect(messages).toEqual(['service gave up: fuse4fs: group 3; inode table checksum wrong', 'see the log']);
    const long = failureOption('ä'.repeat(5000));
    expect(talk([mtab(long), goodbye(1)], { logHint: 'x' }).messages[0]).toMatch(/^service gave up: ä{500}$/);
    expect(talk([mtab(long), goodbye(1)]).messages).toEqual(['service gave up: exit code 1']);
  });

  it('comes at once with a goodbye of wrong size', () => {
    const { answers, status } = talk([packet('BYEE', { u16: 0 }), open(image)]);
    expect(answers).toEqual(['REPL 22']);
    expect(status).toBe(1);
  });

  it.each([
    ['an unknown command', packet('NOPE', { u32: 0 })],
    ['a second hello', hello],
    ["the helper's own reply", packet('REPL', { u32: 0 })],
    ['three bytes', packet('OPE')],
    ['too large a packet', Buffer.alloc(65537, 'OPEN')],
  ])('comes without an answer after %s', (_what, bytes) => {
    const { answers, status } = talk([bytes, open(image)]);
    expect(answers).toEqual([]);
    expect(status).toBe(1);
  });

  it('takes a packet of the largest size', () => {
    const path = 'p'.repeat(65536 - 21);
    expect(talk([open(path)]).answers).toEqual([`FILE 1 ${path}`]);
  });

  it('comes when the service takes too long for a command, or for all of them', () => {
    expect(talk([open(image)], { timeouts: { commandMs: 1 } }).messages).toEqual([
      'service did not answer in time (ready)',
    ]);
    expect(talk([open(image)], { timeouts: { commandMs: 60_000, totalMs: 1 } }).status).toBe(1);
  });

  it('leaves no descriptor behind', () => {
    const count = () => readdirSync('/proc/self/fd').length;
    const before = count();
    for (const end of [goodbye(1), goodbye(0), packet('NOPE')]) {
      const conversation = talk([open(image, { requestFlags: TRYLOOP }), ...settings(), mountNow(6), end]);
      conversation.close();
      conversations.pop();
    }
    expect(count()).toBe(before);
  });
});

function readAheadKib(mountLine: string): string {
  return readFileSync(`/sys/class/bdi/${mountLine.split(' ')[2]}/read_ahead_kb`, 'utf8').trim();
}

function errnoIn(answer: string): number {
  return Number(answer.split(' ')[1]);
}

function flagsOf(fd: number): number {
  const flags = /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '';
  return Number.parseInt(flags, 8);
}

function loopsOver(path: string): string[] {
  return execFileSync('losetup', ['--associated', path], { encoding: 'utf8' }).split('\n').filter(Boolean);
}
