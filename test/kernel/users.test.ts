import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, closeSync, cpSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { BrokerConnection } from '../../helper/broker/connection.ts';
import { receivePacket } from '../../native/seqpacket.ts';
import { Ext4Service } from '../support/ext4-service.ts';
import { program } from '../support/fuse4fs-mount.ts';
import { MountBroker } from '../support/mount-broker.ts';
import { mountsBelow, run, TestRoom } from '../support/test-room.ts';

/** Users without root, with service and mount broker as a service manager would run them. */
const room = new TestRoom('users');
const USER = 65534;
const OTHER = 65533;
const WAIT_MS = 20_000;
let service: Ext4Service | null = null;
let broker: MountBroker | null = null;
let home = '';
let image = '';
let mountPoint = '';

beforeAll(() => {
  // The checkout may be where an ordinary user can't look.
  cpSync(dirname(program('fuse4fs')), room.path('bin'), { recursive: true });
  run('chmod', ['-R', 'a+rX', room.path('bin')]);
  chmodSync(room.directory, 0o755);
  chmodSync('/dev/fuse', 0o666);
});
afterAll(() => room.clear());

beforeEach(async () => {
  home = room.mountPoint();
  image = `${home}/image`;
  mountPoint = `${home}/mount`;
  run('mkfs.ext4', ['-q', '-E', `root_owner=${USER}:${USER}`, image, '16M']);
  mkdirSync(mountPoint);
  for (const path of [home, image, mountPoint]) chownSync(path, USER, USER);
  chmodSync(home, 0o700);
  service = await Ext4Service.start(room);
  chmodSync('/run/filesystems/ext4', 0o660);
  broker = await MountBroker.start(room);
});
afterEach(async () => {
  await service?.stop();
  await broker?.stop();
  await room.reset();
});

const asUser = (uid = USER): string[] => ['setpriv', '--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups'];

interface Outcome {
  readonly status: number | null;
  readonly text: string;
}

function output(command: readonly string[]): Outcome {
  const result = spawnSync(command[0], command.slice(1), { encoding: 'utf8', timeout: WAIT_MS, cwd: '/' });
  return { status: result.status, text: `${result.stdout}${result.stderr}` };
}

const user = (...command: string[]): Outcome => output([...asUser(), ...command]);
const helper = (): string => `${room.path('bin')}/fuservicemount`;
const mount = (...options: string[]): Outcome => user(helper(), image, mountPoint, '-t', 'fuse.ext4', ...options);
const umount = (...switches: string[]): Outcome => user(helper(), '-u', ...switches, mountPoint);
const success: Outcome = { status: 0, text: '' };

/** The service has written everything when it has ended. */
async function expectCleanEnd(): Promise<void> {
  await service?.waitForServiceEnd(WAIT_MS);
  expect(mountsBelow(room.directory)).toEqual([]);
  expect(output(['e2fsck', '-fn', image]).status).toBe(0);
}

test('a user mounts his own image, works in it, and unmounts it', async () => {
  expect(mount()).toEqual(success);
  const entry = output(['findmnt', '-n', '-o', 'FSTYPE,SOURCE,OPTIONS', mountPoint]).text;
  expect(entry).toContain(`fuse.ext4 ${image} rw,nosuid,nodev,`);
  expect(entry).toContain(`user_id=${USER},group_id=${USER}`);
  expect(entry).not.toContain('allow_other');
  expect(user('sh', '-c', `echo text >${mountPoint}/file && cat ${mountPoint}/file`).text).toBe('text\n');
  expect(output(['ls', mountPoint]).text).toContain('Permission denied');
  expect(umount()).toEqual(success);
  await expectCleanEnd();
  expect(run('debugfs', ['-R', 'cat /file', image])).toBe('text\n');
});

test('set-uid programs and devices in an image give nothing to the user', async () => {
  run('mount', ['-o', 'loop', image, mountPoint]);
  run('cp', ['/usr/bin/id', `${mountPoint}/id`]);
  chmodSync(`${mountPoint}/id`, 0o4755);
  run('mknod', ['-m', '666', `${mountPoint}/zero`, 'c', '1', '5']);
  run('umount', [mountPoint]);
  expect(mount('-o', 'suid,dev')).toEqual(success);
  expect(user(`${mountPoint}/id`, '-u').text.trim()).toBe(String(USER));
  expect(user('head', '-c', '1', `${mountPoint}/zero`).text).toContain('Permission denied');
  expect(umount()).toEqual(success);
  await expectCleanEnd();
});

test('an image that the user may not read is refused, and he learns why', async () => {
  chownSync(image, 0, 0);
  chmodSync(image, 0o600);
  const { status, text } = mount();
  expect(status).toBe(1);
  expect(text).toContain('permission denied');
  await service?.waitForServiceEnd(WAIT_MS);
  expect(mountsBelow(room.directory)).toEqual([]);
});

test('an image that the user may only read is mounted for reading', async () => {
  chownSync(image, 0, 0);
  chmodSync(image, 0o644);
  const before = statSync(image).mtimeMs;
  expect(mount('-o', 'rw').status).toBe(0);
  expect(user('touch', `${mountPoint}/new`).text).toContain('Read-only file system');
  expect(umount()).toEqual(success);
  await expectCleanEnd();
  expect(statSync(image).mtimeMs).toBe(before);
});

test("somebody else's directory is no mount point", async () => {
  chownSync(mountPoint, OTHER, OTHER);
  chmodSync(mountPoint, 0o777);
  const { status, text } = mount();
  expect(status).toBe(1);
  expect(text).toContain(`${mountPoint}: is not owned by you`);
  await service?.waitForServiceEnd(WAIT_MS);
  expect(mountsBelow(room.directory)).toEqual([]);
});

test('nobody unmounts what another user has mounted', async () => {
  chmodSync(home, 0o755);
  expect(mount()).toEqual(success);
  for (const switches of [[], ['-z']]) {
    const { status, text } = output([...asUser(OTHER), helper(), '-u', ...switches, mountPoint]);
    expect(status).toBe(1);
    expect(text).toContain('is not your mount');
  }
  expect(mountsBelow(room.directory)).toEqual([mountPoint]);
  expect(umount()).toEqual(success);
  await expectCleanEnd();
});

test.each([['fusermount3', '-u'], ['umount']])('%s unmounts for the user too', async (...command) => {
  expect(mount()).toEqual(success);
  expect(user(...command, mountPoint)).toEqual(success);
  await expectCleanEnd();
});

test('a mount that is in use is busy, and goes lazily', async () => {
  expect(mount()).toEqual(success);
  const busy = user('sh', '-c', `cd ${mountPoint} && ${helper()} -u ${mountPoint}; ${helper()} -u -z ${mountPoint}`);
  expect(busy).toEqual({ status: 0, text: expect.stringMatching(/^fuservicemount: .*busy.*\n$/) });
  await expectCleanEnd();
});

test('the program fuse4fs asks the broker as well', async () => {
  const server = room.supervise([...asUser(), `${room.path('bin')}/fuse4fs`, image, mountPoint]);
  expect(await server.waitForEnd(WAIT_MS)).toEqual({ code: 0, signal: null });
  expect(broker?.activator.output).toContain(`mounted ${image} on ${mountPoint}`);
  expect(user('touch', `${mountPoint}/file`)).toEqual(success);
  expect(umount()).toEqual(success);
  await server.waitForAll(WAIT_MS);
  expect(output(['e2fsck', '-fn', image]).status).toBe(0);
});

test('a user without the right to /run/filesystems sees the service through the broker', async () => {
  expect(user(helper(), '-t', 'ext4', '--check')).toEqual(success);
  await broker?.stop();
  expect(user(helper(), '-t', 'ext4', '--check').status).toBe(1);
  const { status, text } = mount();
  expect({ status, text }).toEqual({ status: 1, text: expect.stringContaining('EACCES') });
});

test('a service whose user leaves the broker is cut off', async () => {
  const connection = BrokerConnection.open();
  const socket = connection?.connectToService('ext4') ?? -1;
  expect(socket).toBeGreaterThan(2);
  connection?.close();
  expect(receivePacket(socket, 100, WAIT_MS)).toBeNull();
  await service?.waitForServiceEnd(WAIT_MS);
  closeSync(socket);
});

/** Each attempt kills one step later; the first one that gets through has seen all steps. */
const STEPS_MAX = 60;
const killAt = (call: string, step: number): string[] => [
  'strace',
  '-D',
  '-f',
  '-qq',
  '-o',
  '/dev/null',
  '-e',
  `trace=${call}`,
  '-e',
  `inject=${call}:signal=KILL:when=${step}`,
];

/** Tries to mount; either it came through, and works, or nothing is left of it. True when it came through. */
async function mountOrNothing(prefix: readonly string[], what: string): Promise<boolean> {
  for (const activator of [service?.activator, broker?.activator]) if (activator !== undefined) activator.output = '';
  const attempt = room.supervise([...prefix, ...asUser(), helper(), image, mountPoint, '-t', 'fuse.ext4']);
  const { code } = await attempt.waitForEnd(WAIT_MS);
  await attempt.waitForAll(WAIT_MS);
  const isMounted = mountsBelow(room.directory).length > 0;
  if (code !== null) expect(isMounted, `${what}: what was said`).toBe(code === 0);
  if (isMounted) {
    expect(user('touch', `${mountPoint}/file`), `${what}: the mount works`).toEqual(success);
    expect(umount()).toEqual(success);
  }
  // Where the first step is the connection itself, no service is started.
  const wasStarted = service?.activator.output.includes('Connection from') === true;
  if (wasStarted) await service?.waitForServiceEnd(WAIT_MS);
  expect(mountsBelow(room.directory), what).toEqual([]);
  return code === 0;
}

test.each(['sendmsg', 'recvmsg', 'connect'])("kill -9 of the user's helper at any %s leaves nothing", async (call) => {
  let step = 1;
  while (step < STEPS_MAX && !(await mountOrNothing(killAt(call, step), `${call} ${step}`))) step++;
  expect(step).toBeLessThan(STEPS_MAX);
  expect(step).toBeGreaterThan(call === 'connect' ? 1 : 4);
  expect(output(['e2fsck', '-fn', image]).status).toBe(0);
});

test.each(['sendmsg', 'recvmsg', 'fsopen', 'fsmount', 'move_mount'])(
  'kill -9 of the broker at any %s leaves nothing',
  async (call) => {
    let step = 1;
    for (let through = false; step < STEPS_MAX; step++) {
      await broker?.stop();
      broker = await MountBroker.start(room, killAt(call, step));
      through = await mountOrNothing([], `${call} ${step}`);
      if (through) break;
    }
    expect(step).toBeLessThan(STEPS_MAX);
    expect(step).toBeGreaterThan(1);
    expect(output(['e2fsck', '-fn', image]).status).toBe(0);
  },
);

test('a mount point or source with unusual characters in its name works', async () => {
  mountPoint = `${home}/mount ,=\\ü`;
  mkdirSync(mountPoint);
  chownSync(mountPoint, USER, USER);
  expect(mount()).toEqual(success);
  expect(mountsBelow(room.directory)).toHaveLength(1);
  expect(umount()).toEqual(success);
  await expectCleanEnd();
});
