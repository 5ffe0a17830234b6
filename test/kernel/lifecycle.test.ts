import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { compiledTool } from '../support/compiled-tool.ts';
import { Ext4Service } from '../support/ext4-service.ts';
import { mountFuse4fs, program, tryMountFuse4fs } from '../support/fuse4fs-mount.ts';
import { makeImage, populateImage } from '../support/kernel-image.ts';
import { OperationScript } from '../support/operation-script.ts';
import type { CommandEnd } from '../support/supervised-process.ts';
import { mountsBelow, run, sha256OfFile, TestRoom } from '../support/test-room.ts';

/** Mounts come and go: nothing may be left behind, whoever dies, and every refusal must say why. */
const room = new TestRoom('lifecycle');
let image = '';

beforeAll(async () => {
  image = makeImage(room, 'plain.img', { sizeBytes: 32 << 20, mkfs: ['-t', 'ext4', '-b', '4096'] });
  const script = new OperationScript()
    .mkdir('directory')
    .text('directory/file', 0, 'content\n')
    .chmod('directory', 0o755);
  script.write('large', 0, 1 << 20, 1);
  await populateImage(room, image, script);
});
afterEach(() => room.reset());
afterAll(() => room.clear());

const nodeProgram = process.execPath;
const nobody = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];

function output(command: readonly string[]): { status: number | null; text: string } {
  const result = spawnSync(command[0], command.slice(1), { encoding: 'utf8', timeout: 20_000 });
  return { status: result.status, text: `${result.stdout}${result.stderr}` };
}

test('the mount table names type and source, statfs the FUSE driver', async () => {
  const mount = await mountFuse4fs(room, image, 'ro');
  expect(output(['findmnt', '-n', '-o', 'FSTYPE,SOURCE', mount.mountPoint]).text.trim()).toBe(`fuse.ext4 ${image}`);
  expect(output(['findmnt', '-n', '-o', 'VFS-OPTIONS', mount.mountPoint]).text).toMatch(/\bro\b/);
  expect(output(['stat', '-f', '-c', '%T', mount.mountPoint]).text.trim()).toMatch(/^fuse(blk)?$/);
  await mount.unmount();
  expect(room.leaks()).toEqual([]);
});

test('every operation that modifies answers that the file system is read-only', async () => {
  const mount = await mountFuse4fs(room, image, 'ro');
  const file = `${mount.mountPoint}/directory/file`;
  const attempts = [
    ['touch', file],
    ['touch', `${mount.mountPoint}/new`],
    ['mkdir', `${mount.mountPoint}/new`],
    ['rm', '-f', file],
    ['mv', file, `${file}2`],
    ['ln', file, `${file}2`],
    ['chmod', '600', file],
    ['setfattr', '-n', 'user.x', '-v', '1', file],
    ['truncate', '-s', '0', file],
    ['chattr', '+d', file],
  ];
  const answers = attempts.map((command) => output(command).text);
  expect(answers.filter((answer) => !answer.includes('Read-only file system'))).toEqual([]);
  await mount.unmount();
});

test('a remount cannot make a read-only mount writable', async () => {
  const hash = sha256OfFile(image);
  const mount = await mountFuse4fs(room, image, 'ro');
  spawnSync('mount', ['-o', 'remount,rw', mount.mountPoint]);
  expect(output(['touch', `${mount.mountPoint}/new`]).text).toContain('Read-only file system');
  await mount.unmount();
  expect(sha256OfFile(image)).toBe(hash);
});

test('a lazy unmount keeps serving open files and ends with the last of them', async () => {
  const mount = await mountFuse4fs(room, image, 'ro');
  const fd = openSync(`${mount.mountPoint}/large`, 'r');
  try {
    run('umount', ['--lazy', mount.mountPoint]);
    expect(mount.process.pids()).not.toEqual([]);
    expect(readSync(fd, Buffer.alloc(4096), 0, 4096, 512 << 10)).toBe(4096);
  } finally {
    closeSync(fd);
  }
  await mount.process.waitForAll(10_000);
  expect(room.leaks()).toEqual([]);
});

test('a mount whose server was killed can be removed', async () => {
  const mount = await mountFuse4fs(room, image, 'ro');
  for (const pid of mount.process.pids()) process.kill(pid, 'SIGKILL');
  await mount.process.waitForAll(10_000);
  expect(output(['stat', `${mount.mountPoint}/large`]).text).toMatch(/not connected/);
  run('umount', [mount.mountPoint]);
  expect(room.leaks()).toEqual([]);
});

test('an image can be mounted twice for reading', async () => {
  const first = await mountFuse4fs(room, image, 'ro');
  const second = await mountFuse4fs(room, image, 'ro');
  expect(output(['cat', `${second.mountPoint}/directory/file`]).text).toBe('content\n');
  await first.unmount();
  expect(output(['cat', `${second.mountPoint}/large`]).status).toBe(0);
  await second.unmount();
  expect(room.leaks()).toEqual([]);
});

test('in the foreground the command ends with the unmount, with code 0', async () => {
  const mountPoint = room.mountPoint();
  const process = room.supervise([program('fuse4fs'), '-f', '-o', 'ro', image, mountPoint]);
  await room.waitForMount(mountPoint, 20_000);
  expect(output(['cat', `${mountPoint}/directory/file`]).text).toBe('content\n');
  run('umount', [mountPoint]);
  expect(await process.waitForEnd(10_000)).toEqual({ code: 0, signal: null });
  await process.waitForAll(10_000);
  expect(room.leaks()).toEqual([]);
});

test('the mount table shows the type that the user asked for', async () => {
  const mount = await mountFuse4fs(room, image, 'ro,subtype=other');
  expect(output(['findmnt', '-n', '-o', 'FSTYPE', mount.mountPoint]).text.trim()).toBe('fuse.other');
  await mount.unmount();
});

test('what the service has to say about a mount is heard before the command ends', async () => {
  const mount = await mountFuse4fs(room, image, 'ro,delalloc');
  expect(mount.process.output).toContain('option delalloc has no effect');
  await mount.unmount();
});

test('a lock file lives as long as the mount, and other words may look like one', async () => {
  const lookalike = room.path('a,lockfile=x.img');
  const lock = room.path('lock');
  run('cp', ['--sparse=always', image, lookalike]);
  const mount = await mountFuse4fs(room, lookalike, `lockfile=${lock},ro`);
  expect(statSync(lock).mode & 0o7777).toBe(0o400);
  const second = await tryMountFuse4fs(room, lookalike, `ro,lockfile=${lock}`);
  expect((await second.process.ended).code).toBe(32);
  expect(existsSync(lock)).toBe(true);
  await mount.unmount();
  expect(existsSync(lock)).toBe(false);
});

test('the service gets neither the terminal nor the descriptors of who starts it', async () => {
  const mountPoint = room.mountPoint();
  const opened = room.path('opened-before');
  const withDescriptor = ['sh', '-c', 'exec 7>"$0"; exec "$@"', opened];
  const process = room.supervise([...withDescriptor, program('fuse4fs'), '-f', '-o', 'ro', image, mountPoint]);
  await room.waitForMount(mountPoint, 20_000);
  const services = process.pids().filter(isService);
  expect(services.length).toBeGreaterThan(0);
  for (const pid of services) {
    const descriptors = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    expect(descriptors).not.toContain(opened);
    // Fields behind the name: state, parent, process group, session.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    expect(fields[3], 'leader of its own session').toBe(String(pid));
  }
  run('umount', [mountPoint]);
  await process.waitForAll(10_000);
});

/** Its title shows device and mount point; /proc belongs to root, because it is not dumpable. */
function isService(pid: number): boolean {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('-ext4 ');
}

test('a service that cannot be started is a system error', async () => {
  const tools = room.path('tools');
  mkdirSync(tools);
  const lock = room.path('lock');
  const command = [nodeProgram, program('fuse4fs'), '-o', `ro,lockfile=${lock}`, image, room.mountPoint()];
  const process = room.supervise(['env', '-i', `PATH=${tools}`, ...command]);
  expect((await process.waitForEnd(20_000)).code).toBe(2);
  await process.waitForAll(10_000);
  expect(process.output).toMatch(/starting the service: no such file/);
  expect(existsSync(lock)).toBe(false);
});

interface Refusal {
  readonly name: string;
  readonly words: (mountPoint: string) => readonly string[];
  readonly code: number;
  readonly text: RegExp;
}

const file = (name: string, bytes: Buffer): string => {
  writeFileSync(room.path(name), bytes);
  return room.path(name);
};

function truncatedCopy(): string {
  const copy = room.path('truncated.img');
  run('cp', ['--sparse=always', image, copy]);
  truncateSync(copy, 10 << 20);
  return copy;
}

const REFUSALS: readonly Refusal[] = [
  { name: 'no arguments', words: () => [], code: 1, text: /missing device/i },
  { name: 'no mount point', words: () => [image], code: 1, text: /mount ?point/i },
  { name: 'three operands', words: (at) => ['-o', 'ro', image, at, 'more'], code: 1, text: /too many/ },
  { name: 'an unknown option', words: (at) => ['-o', 'ro,nosuchoption', image, at], code: 1, text: /nosuchoption/ },
  { name: 'an unknown flag', words: (at) => ['--nosuchflag', image, at], code: 1, text: /nosuchflag/ },
  { name: 'a bad cache size', words: (at) => ['-o', 'ro,cache_size=banana', image, at], code: 1, text: /cache size/ },
  { name: 'a missing file', words: (at) => ['-o', 'ro', room.path('missing'), at], code: 32, text: /missing/ },
  { name: 'a directory as image', words: (at) => ['-o', 'ro', room.directory, at], code: 32, text: /\S/ },
  {
    name: 'a character device as image',
    words: (at) => ['-o', 'ro', '/dev/zero', at],
    code: 32,
    text: /\/dev\/zero|zero/,
  },
  {
    name: 'an empty file',
    words: (at) => ['-o', 'ro', file('empty.img', Buffer.alloc(0)), at],
    code: 32,
    text: /superblock|too small|short|beyond|magic/i,
  },
  {
    name: 'a file that is no ext4',
    words: (at) => ['-o', 'ro', file('noise.img', Buffer.alloc(1 << 20, 0x5a)), at],
    code: 32,
    text: /magic|superblock/i,
  },
  {
    name: 'a truncated image',
    words: (at) => ['-o', 'ro', truncatedCopy(), at],
    code: 32,
    text: /device|size|blocks/i,
  },
  { name: 'a missing mount point', words: (at) => ['-o', 'ro', image, `${at}/none`], code: 32, text: /none/ },
  { name: 'a file as mount point', words: () => ['-o', 'ro', image, image], code: 32, text: /directory/i },
];

test.each(REFUSALS)('$name is refused with code $code and a reason', async ({ words, code, text }) => {
  const mountPoint = room.mountPoint();
  const process = room.supervise([program('fuse4fs'), ...words(mountPoint)]);
  expect((await process.waitForEnd(20_000)).code).toBe(code);
  await process.waitForAll(10_000);
  expect(process.output).toMatch(text);
  expect(process.output).not.toMatch(/\n\s+at .*\.(js|ts|cjs):\d+|Error: /);
  // The reason and, where the reason is not the command line, what became of the mount.
  expect(process.output.trim().split('\n')).toHaveLength(code === 32 ? 2 : 1);
  expect(room.leaks()).toEqual([]);
});

const FEATURES = [
  { name: 'compression', mkfs: [], debugfs: ['feature compression'], text: /compression.* not supported/ },
  { name: 'dirdata', mkfs: [], debugfs: ['feature dirdata'], text: /dirdata.* not supported/ },
  { name: 'encrypt', mkfs: [], debugfs: ['feature encrypt'], text: /encrypt.* not supported/ },
  { name: 'casefold', mkfs: [], debugfs: ['feature casefold'], text: /casefold.* not supported/ },
  { name: 'journal_dev', mkfs: ['-O', 'journal_dev'], debugfs: [], text: /journal/ },
  {
    name: 'an unknown incompatible feature',
    mkfs: [],
    debugfs: ['set_super_value feature_incompat 0x400002c2'],
    text: /FEATURE_I30.* not supported/,
  },
];

test.each(FEATURES)('an image with $name is refused by that name', async ({ mkfs, debugfs, text }) => {
  const unsupported = makeImage(room, 'feature.img', { sizeBytes: 16 << 20, mkfs: ['-b', '4096', ...mkfs], debugfs });
  const mountPoint = room.mountPoint();
  const process = room.supervise([program('fuse4fs'), '-o', 'ro', unsupported, mountPoint]);
  expect((await process.waitForEnd(20_000)).code).toBe(32);
  await process.waitForAll(10_000);
  expect(process.output).toMatch(text);
  expect(room.leaks()).toEqual([]);
});

/** Each attempt kills one step later; the first one that gets through has seen all steps. */
const STEPS_MAX = 80;
const SIGKILL = 9;
const killAt = (call: string, step: number) => `${call}:signal=KILL:when=${step}`;

/** Either the mount came through, and then it works and ends with umount, or nothing of it is left. */
async function expectMountOrNothing(
  end: CommandEnd,
  mountPoint: string,
  allEnded: () => Promise<void>,
  user: readonly string[] = [],
): Promise<void> {
  if (end.code === 0) {
    const content = output([...user, 'cat', `${mountPoint}/directory/file`]);
    expect(content).toEqual({ status: 0, text: 'content\n' });
    run('umount', [mountPoint]);
  }
  await allEnded();
  expect(mountsBelow(room.directory)).toEqual([]);
}

/** A kernel without the mount API. */
const ONLY_MOUNT_2 = 'fsopen:error=ENOSYS';

/** strace, which does to one process, and not to its children, what `faults` say. */
const withFaults = (...faults: readonly string[]): readonly string[] => {
  if (faults.length === 0) return [];
  const calls = faults.map((fault) => fault.slice(0, fault.indexOf(':'))).join(',');
  const injections = faults.flatMap((fault) => ['-e', `inject=${fault}`]);
  return ['strace', '-qq', '-o', '/dev/null', '-e', `trace=${calls}`, ...injections];
};

interface Mounting {
  readonly user: readonly string[];
  /** Mounts the image. */
  readonly command: (mountPoint: string) => readonly string[];
  /** What the helper's system calls shall answer, in strace's words. */
  readonly faults: readonly string[];
}

/** Kills the stand-alone helper at its first, second... use of a call, until a mount comes through: at which one. */
async function killHelperAtEach(call: string, mounting: Mounting): Promise<number> {
  for (let step = 1; step < STEPS_MAX; step++) {
    const mountPoint = room.mountPoint();
    const killed = withFaults(killAt(call, step), ...mounting.faults);
    const process = room.supervise([...killed, ...mounting.command(mountPoint)]);
    const end = await process.waitForEnd(20_000);
    await expectMountOrNothing(end, mountPoint, () => process.waitForAll(20_000), mounting.user);
    expect(room.leaks(), `after a kill at ${call} ${step}`).toEqual([]);
    if (end.code === 0) return step;
  }
  throw new Error(`no mount came through in ${STEPS_MAX} attempts`);
}

const asRoot: Mounting = {
  user: [],
  command: (mountPoint) => [program('fuse4fs'), '-o', 'ro', image, mountPoint],
  faults: [],
};

test.each([
  ['sendmsg', 4],
  ['recvmsg', 4],
  ['fsopen', 1],
  ['fsconfig', 1],
  ['fsmount', 1],
  ['move_mount', 1],
] as const)('kill -9 of the helper at any %s leaves nothing', async (call, fewest) => {
  expect(await killHelperAtEach(call, asRoot)).toBeGreaterThan(fewest);
});

test.each([
  ['sendmsg', 5],
  ['recvmsg', 6],
  ['poll', 6],
] as const)('kill -9 of the helper at any %s leaves nothing where there is only mount(2)', async (call, fewest) => {
  const steps = await killHelperAtEach(call, { ...asRoot, faults: [ONLY_MOUNT_2] });
  expect(steps).toBeGreaterThan(fewest);
});

/** Kills the helper when it has nothing left to do but to end. */
async function expectMountToOutliveHelper(mounting: Mounting): Promise<void> {
  const mountPoint = room.mountPoint();
  const killed = withFaults(killAt('exit_group', 1), ...mounting.faults);
  const process = room.supervise([...killed, ...mounting.command(mountPoint)]);
  expect((await process.waitForEnd(20_000)).signal).toBe(SIGKILL);
  const content = output([...mounting.user, 'cat', `${mountPoint}/directory/file`]);
  expect(content).toEqual({ status: 0, text: 'content\n' });
  run('umount', [mountPoint]);
  await process.waitForAll(10_000);
  expect(room.leaks()).toEqual([]);
}

test('a mount outlives a helper that is killed when it has handed it over', async () => {
  await expectMountToOutliveHelper(asRoot);
  await expectMountToOutliveHelper({ ...asRoot, faults: [ONLY_MOUNT_2] });
});

const mountThroughService = (mountPoint: string) => [
  program('fuservicemount'),
  image,
  mountPoint,
  '-t',
  'fuse.ext4',
  '-o',
  'ro',
];

const KERNELS = [
  ['with the mount API', []],
  ['with mount(2) only', [ONLY_MOUNT_2]],
] as const;
const onAllKernels = (calls: readonly string[]) =>
  calls.flatMap((call) => KERNELS.map(([kernel, faults]) => ({ call, kernel, faults })));

async function mountThroughKilledService(
  call: string,
  step: number,
  faults: readonly string[],
): Promise<number | null> {
  const injection = ['-e', `trace=${call}`, '-e', `inject=${killAt(call, step)}`];
  const service = await Ext4Service.start(room, ['strace', '-D', '-f', '-qq', '-o', '/dev/null', ...injection]);
  try {
    const mountPoint = room.mountPoint();
    const helper = room.supervise([...withFaults(...faults), ...mountThroughService(mountPoint)]);
    const end = await helper.waitForEnd(20_000);
    await expectMountOrNothing(end, mountPoint, () => service.waitForServiceEnd(20_000));
    await helper.waitForAll(10_000);
    return end.code;
  } finally {
    await service.stop();
  }
}

test.each(onAllKernels(['sendto', 'recvmsg']))(
  'kill -9 of the service at any $call leaves nothing, and the helper says so, $kernel',
  async ({ call, faults }) => {
    let step = 1;
    for (; step < STEPS_MAX; step++) {
      const code = await mountThroughKilledService(call, step, faults);
      expect(room.leaks(), `after a kill at ${call} ${step}`).toEqual([]);
      if (code === 0) break;
    }
    expect(step, 'the handshake has several steps').toBeGreaterThan(4);
    expect(step, 'one attempt must get through').toBeLessThan(STEPS_MAX);
  },
);

test.each(onAllKernels(['sendmsg', 'sendto', 'recvmsg']))(
  'kill -9 of fuservicemount at any $call leaves nothing, $kernel',
  async ({ call, faults }) => {
    const service = await Ext4Service.start(room);
    let step = 1;
    try {
      for (; step < STEPS_MAX; step++) {
        const mountPoint = room.mountPoint();
        service.activator.output = '';
        const killed = withFaults(killAt(call, step), ...faults);
        const helper = room.supervise([...killed, ...mountThroughService(mountPoint)]);
        const end = await helper.waitForEnd(20_000);
        await expectMountOrNothing(end, mountPoint, async () => {
          await service.waitForServiceEnd(20_000);
          await helper.waitForAll(10_000);
        });
        expect(service.servicePids(), `after a kill at ${call} ${step}`).toEqual([]);
        if (end.code === 0) break;
      }
    } finally {
      await service.stop();
    }
    expect(room.leaks()).toEqual([]);
    expect(step, 'the handshake has several steps').toBeGreaterThan(4);
    expect(step, 'one attempt must get through').toBeLessThan(STEPS_MAX);
  },
);

test("the service starts and serves under its unit's system call filter", async () => {
  const user = [...nobody, '--no-new-privs', '--inh-caps=-all', '--bounding-set=-all'];
  const fuse4fs = programsForEverybody();
  const filter = `${room.path('bin')}/deny-privileged`;
  copyFileSync(compiledTool('deny-privileged'), filter);
  const service = await Ext4Service.start(room, [...user, filter], fuse4fs);
  try {
    const mountPoint = room.mountPoint();
    run(program('fuservicemount'), [image, mountPoint, '-t', 'fuse.ext4', '-o', 'ro']);
    expect(output(['cat', `${mountPoint}/directory/file`]).text).toBe('content\n');
    expect(sha256OfFile(`${mountPoint}/large`)).toHaveLength(64);
    run('umount', [mountPoint]);
    await service.waitForServiceEnd(10_000);
    expect(service.activator.output).toContain('died with code 0');
  } finally {
    await service.stop();
  }
  expect(room.leaks()).toEqual([]);
});

test("libfuse's mount.fuse3 runs the program under the name of the type", async () => {
  const directory = `${room.directory}/programs`;
  mkdirSync(directory, { recursive: true });
  symlinkSync(program('fuse4fs'), `${directory}/ext4`);
  const mountPoint = room.mountPoint();
  const path = `PATH=${directory}:${process.env.PATH}`;
  const server = room.supervise(['env', path, 'mount.fuse3', `ext4#${image}`, mountPoint, '-o', 'ro,nofail']);
  expect((await server.ended).code).toBe(0);
  expect(output(['findmnt', '-n', '-o', 'FSTYPE,SOURCE', mountPoint]).text.trim()).toBe(`fuse.ext4 ${image}`);
  expect(output(['cat', `${mountPoint}/directory/file`]).text).toBe('content\n');
  run('umount', [mountPoint]);
  await server.waitForAll(10_000);
  expect(room.leaks()).toEqual([]);
});

test('mount -t fuse.ext4 goes through the socket-activated service', async () => {
  const link = '/sbin/mount.fuse.ext4';
  if (existsSync(link)) throw new Error(`${link} exists: the test needs that name`);
  const service = await Ext4Service.start(room);
  symlinkSync(program('fuservicemount'), link);
  try {
    const mountPoint = room.mountPoint();
    expect(output(['mount', '-t', 'fuse.ext4', '-o', 'ro', image, mountPoint])).toEqual({ status: 0, text: '' });
    expect(output(['findmnt', '-n', '-o', 'FSTYPE,SOURCE', mountPoint]).text.trim()).toBe(`fuse.ext4 ${image}`);
    expect(output(['cat', `${mountPoint}/directory/file`]).text).toBe('content\n');
    const owners = service.servicePids().map((pid) => statSync(`/proc/${pid}`).uid);
    expect(owners.length).toBeGreaterThan(0);
    run('umount', [mountPoint]);
    await service.waitForServiceEnd(10_000);
    expect(service.activator.output).toContain('died with code 0');
    expect(service.servicePids()).toEqual([]);
    const refused = output([
      'mount',
      '-t',
      'fuse.ext4',
      '-o',
      'ro',
      file('noise.img', Buffer.alloc(1 << 20, 0x5a)),
      mountPoint,
    ]);
    expect(refused.status).toBe(32);
    expect(refused.text).toMatch(/magic|superblock/i);
  } finally {
    rmSync(link);
    await service.stop();
  }
  expect(room.leaks()).toEqual([]);
});

test('two mounts through one socket are two services', async () => {
  const service = await Ext4Service.start(room);
  try {
    const points = [room.mountPoint(), room.mountPoint()];
    for (const point of points) run(program('fuservicemount'), [image, point, '-t', 'fuse.ext4', '-o', 'ro']);
    for (const point of points) expect(output(['cat', `${point}/directory/file`]).text).toBe('content\n');
    for (const point of points) run('umount', [point]);
    await service.waitForServiceEnd(10_000);
  } finally {
    await service.stop();
  }
  expect(room.leaks()).toEqual([]);
});

test('fuservicemount without a service says that there is none, with its reserved code', async () => {
  const helper = room.supervise([program('fuservicemount'), image, room.mountPoint(), '-t', 'fuse.ext4', '-o', 'ro']);
  expect((await helper.waitForEnd(20_000)).code).toBe(2);
  await helper.waitForAll(10_000);
  expect(helper.output).toMatch(/ext4/);
  const check = room.supervise([program('fuservicemount'), '-t', 'ext4', '--check']);
  expect((await check.waitForEnd(20_000)).code).toBe(1);
});

test("fuservicemount passes on the service's own reason", async () => {
  const service = await Ext4Service.start(room);
  try {
    const noise = file('noise.img', Buffer.alloc(1 << 20, 0x5a));
    const helper = room.supervise([program('fuservicemount'), noise, room.mountPoint(), '-t', 'fuse.ext4', '-o', 'ro']);
    expect((await helper.waitForEnd(20_000)).code).toBe(1);
    await helper.waitForAll(10_000);
    expect(helper.output).toMatch(/magic|superblock/i);
    await service.waitForServiceEnd(10_000);
  } finally {
    await service.stop();
  }
  expect(room.leaks()).toEqual([]);
});

/** The checkout may be where an ordinary user can't look. */
function programsForEverybody(): string {
  const directory = room.path('bin');
  run('cp', ['-rL', program('fuse4fs').replace(/\/fuse4fs$/, ''), directory]);
  run('chmod', ['-R', 'a+rX', directory]);
  chmodSync(room.directory, 0o755);
  return `${directory}/fuse4fs`;
}

/** As distributions set it up, an ordinary user may open /dev/fuse. */
async function withOpenFuseDevice(use: () => Promise<void>): Promise<void> {
  const deviceMode = statSync('/dev/fuse').mode & 0o7777;
  chmodSync('/dev/fuse', 0o666);
  try {
    await use();
  } finally {
    chmodSync('/dev/fuse', deviceMode);
  }
}

test('an ordinary user mounts an image that he can read', async () => {
  const fuse4fs = programsForEverybody();
  const mountPoint = room.mountPoint();
  chmodSync(image, 0o644);
  await withOpenFuseDevice(async () => {
    const process = room.supervise(mountAsUser(fuse4fs, mountPoint));
    const end = await process.waitForEnd(20_000);
    expect({ ...end, output: process.output }).toEqual({ code: 0, signal: null, output: '' });
    expect(output(['findmnt', '-n', '-o', 'FSTYPE,SOURCE', mountPoint]).text.trim()).toBe(`fuse.ext4 ${image}`);
    expect(output([...nobody, 'cat', `${mountPoint}/directory/file`]).text).toBe('content\n');
    expect(output([...nobody, 'touch', `${mountPoint}/new`]).text).toContain('Read-only file system');
    expect(output([...nobody, 'fusermount3', '-u', mountPoint]).status).toBe(0);
    await process.waitForAll(10_000);
  });
  expect(room.leaks()).toEqual([]);
});

test('an ordinary user cannot mount an image that he cannot read', async () => {
  const fuse4fs = programsForEverybody();
  const mountPoint = room.mountPoint();
  chmodSync(image, 0o600);
  try {
    await withOpenFuseDevice(async () => {
      const process = room.supervise(mountAsUser(fuse4fs, mountPoint));
      expect((await process.waitForEnd(20_000)).code).toBe(32);
      await process.waitForAll(10_000);
      expect(process.output).toMatch(/permission denied/i);
    });
  } finally {
    chmodSync(image, 0o644);
  }
  expect(room.leaks()).toEqual([]);
});

/** A mount as an ordinary user; `path` is where his programs are looked for. */
function mountAsUser(fuse4fs: string, mountPoint: string, path = process.env.PATH): readonly string[] {
  chownSync(mountPoint, 65534, 65534);
  return [...nobody, 'env', `PATH=${path}`, fuse4fs, '-o', 'ro', image, mountPoint];
}

test.each([
  ['sendmsg', 5],
  ['recvmsg', 6],
  ['poll', 6],
  ['ioctl', 1],
] as const)("kill -9 of an ordinary user's helper at any %s leaves nothing", async (call, fewest) => {
  const fuse4fs = programsForEverybody();
  chmodSync(image, 0o644);
  await withOpenFuseDevice(async () => {
    const command = (mountPoint: string) => mountAsUser(fuse4fs, mountPoint);
    expect(await killHelperAtEach(call, { user: nobody, command, faults: [] })).toBeGreaterThan(fewest);
  });
});

test("an ordinary user's mount outlives a helper that is killed when it has handed it over", async () => {
  const fuse4fs = programsForEverybody();
  chmodSync(image, 0o644);
  await withOpenFuseDevice(() =>
    expectMountToOutliveHelper({
      user: nobody,
      command: (mountPoint) => mountAsUser(fuse4fs, mountPoint),
      faults: [],
    }),
  );
});

test.each(['sendto', 'recvmsg'])("kill -9 of an ordinary user's service at any %s leaves nothing", async (call) => {
  const fuse4fs = programsForEverybody();
  chmodSync(image, 0o644);
  // The service is what setpriv turns into.
  const programs = room.path('killing');
  mkdirSync(programs, { recursive: true });
  let step = 1;
  await withOpenFuseDevice(async () => {
    for (; step < STEPS_MAX; step++) {
      const mountPoint = room.mountPoint();
      const killed = withFaults(killAt(call, step)).join(' ');
      writeFileSync(`${programs}/setpriv`, `#!/bin/sh\nexec ${killed} /usr/bin/setpriv "$@"\n`, { mode: 0o755 });
      const helper = room.supervise(mountAsUser(fuse4fs, mountPoint, `${programs}:${process.env.PATH}`));
      const end = await helper.waitForEnd(20_000);
      await expectMountOrNothing(end, mountPoint, () => helper.waitForAll(20_000), nobody);
      expect(room.leaks(), `after a kill at ${call} ${step}`).toEqual([]);
      if (end.code === 0) break;
    }
  });
  expect(step, 'the handshake has several steps').toBeGreaterThan(4);
  expect(step, 'one attempt must get through').toBeLessThan(STEPS_MAX);
});
