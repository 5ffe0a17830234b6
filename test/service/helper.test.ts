import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { SOCKET_DIRECTORY } from '../../helper/connect.ts';
import { UnmountFlag, unmount } from '../../native/mount-api.ts';
import {
  goodbye,
  hello,
  mountNow,
  mountPoint,
  mtab,
  open,
  options,
  source,
  type,
} from '../support/scripted-service.ts';
import {
  ask,
  bundleProgram,
  ScriptedService,
  type Step,
  send,
  WatchedProcess,
} from '../support/scripted-service-process.ts';

const NOBODY = 65534;
const TRYLOOP = 2;
const UTAB = '/run/mount/utab';
/** Programs that look at a mount must not wait for ever. */
const limited = { timeout: 20_000 };

let programs: string;
let helperProgram: string;
let serviceProgram: string;

beforeAll(async () => {
  programs = realpathSync(mkdtempSync(join(tmpdir(), 'helper-programs-')));
  chmodSync(programs, 0o755);
  helperProgram = join(programs, 'fuservicemount');
  serviceProgram = join(programs, 'scripted-service');
  await bundleProgram('helper/fuservicemount.ts', helperProgram);
  await bundleProgram('test/support/scripted-service-program.ts', serviceProgram);
});

afterAll(() => rmSync(programs, { recursive: true }));

let room: string;
let image: string;
let mount: string;
/** Ours alone, so that test runs don't meet in the socket directory. */
let subtype: string;
let service: ScriptedService | null;

beforeEach(() => {
  room = realpathSync(mkdtempSync(join(tmpdir(), 'helper-')));
  chmodSync(room, 0o755);
  image = join(room, 'image');
  mount = join(room, 'mount');
  writeFileSync(image, '');
  truncateSync(image, 1 << 20);
  mkdirSync(mount);
  subtype = `t${randomBytes(6).toString('hex')}`;
  service = null;
});

afterEach(async () => {
  for (const line of mountLines()) unmount(line.split(' ')[4], UnmountFlag.DETACH);
  await service?.close();
  rmSync(room, { recursive: true });
});

async function listen(script: readonly Step[]): Promise<ScriptedService> {
  service = await ScriptedService.listen(serviceProgram, subtype, script);
  return service;
}

interface Ending {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function ending(process: WatchedProcess): Promise<Ending> {
  const { status } = await process.ended;
  return { status, stdout: process.stdout, stderr: process.stderr };
}

const runHelper = (...args: string[]): Promise<Ending> => ending(new WatchedProcess(helperProgram, args));
const mountArguments = (...more: string[]): string[] => [image, mount, '-t', `fuse.${subtype}`, ...more];

function mountLines(): string[] {
  const table = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return table.filter((line) => line.includes(` ${room}/`));
}

function loopsOver(path: string): string {
  return execFileSync('losetup', ['--associated', path], { encoding: 'utf8' });
}

const begin: readonly Step[] = [{ receive: 1 }, send(hello), { receive: 2 }];
const openLoop = (): readonly Step[] => ask(open(image, { flags: 2, requestFlags: TRYLOOP }));
const settings = (): readonly Step[] => [type(0), source(image), mountPoint(mount)].flatMap(ask);
const mounting = (): readonly Step[] => [...begin, ...settings(), ...ask(mountNow(6))];
const goodService = (): readonly Step[] => [...mounting(), send(goodbye(0)), { end: 'serve' }];

/** Where a handshake can end. */
const STAGES: readonly (readonly [string, () => readonly Step[]])[] = [
  ['at once', () => []],
  ['before its hello', () => [{ receive: 1 }]],
  ['after its hello', () => begin],
  ['after a file', () => [...begin, ...openLoop()]],
  ['after the settings', () => [...begin, ...openLoop(), ...settings(), ...ask(options('default_permissions'))]],
  ['without waiting for its mount', () => [...begin, ...openLoop(), ...settings(), send(mountNow(6))]],
  ['after the mount', () => [...begin, ...openLoop(), ...settings(), ...ask(mountNow(6))]],
];

describe('a service that does its part', () => {
  it('gets its mount, serves it, and ends with it', async () => {
    const { printed, serviceEnded } = bound(await listen(goodService()));
    expect(await runHelper(...mountArguments('-o', 'ro'))).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(mountLines()).toHaveLength(1);
    expect(mountLines()[0]).toContain(`${mount} rw,nosuid,nodev,relatime `);
    expect(mountLines()[0]).toContain(`- fuse.${subtype} ${image} rw,user_id=0,group_id=0`);
    await printed(/opcode 26/);
    unmount(mount, 0);
    await printed(/unmounted, errno 19/);
    await serviceEnded();
  });

  it('in the person of fuse4fs keeps the read-ahead that the helper gave it', async () => {
    const fuse4fs = join(programs, 'fuse4fs');
    await bundleProgram('service/fuse4fs.ts', fuse4fs);
    execFileSync('mkfs.ext4', ['-q', '-O', '^has_journal', image], limited);
    service = await ScriptedService.listen(fuse4fs, subtype, []);
    expect(await runHelper(...mountArguments('-o', 'ro'))).toEqual({ status: 0, stdout: '', stderr: '' });
    const device = mountLines()[0].split(' ')[2];
    // An answer means that the service has been initialised.
    expect(execFileSync('ls', [mount], { ...limited, encoding: 'utf8' })).toBe('lost+found\n');
    expect(readFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, 'utf8')).toBe('2048\n');
    unmount(mount, 0);
    await service.serviceEnded();
  });

  it('is started by mount(8) through a link in /sbin, with its arguments and no more', async () => {
    const link = `/sbin/mount.fuse.${subtype}`;
    symlinkSync(helperProgram, link);
    try {
      await listen(goodService());
      execFileSync('mount', ['-t', `fuse.${subtype}`, '-o', 'noatime,nofail', image, mount], limited);
      expect(mountLines()[0]).toContain(`- fuse.${subtype} ${image} `);
      await service?.printed(new RegExp(`words ${subtype} ${image} ${mount} -o rw,noatime,dev,suid\n`));
      execFileSync('umount', [mount], limited);
      expect(mountLines()).toEqual([]);
    } finally {
      rmSync(link);
    }
  });

  it('makes the helper say what it does, if asked', async () => {
    await listen(goodService());
    const { status, stderr } = await runHelper(...mountArguments('-v'));
    expect(status).toBe(0);
    expect(stderr).toBe(
      ['type', 'source', 'mount-point', 'mount'].map((what) => `fuservicemount: ${what} accepted\n`).join(''),
    );
  });

  it('goes through all but the mount with -f', async () => {
    await listen([...mounting(), send(goodbye(1))]);
    expect(await runHelper(...mountArguments('-f'))).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(mountLines()).toEqual([]);
    await service?.printed(/got REPL 125/);
  });

  it('has its words remembered in the mount table, unless -n was given', async () => {
    const madeDirectory = !existsSync('/run/mount');
    const madeFile = !existsSync(UTAB);
    mkdirSync('/run/mount', { recursive: true });
    if (madeFile) writeFileSync(UTAB, '');
    const steps = [...begin, ...settings(), ...ask(mtab('x-test=1')), ...ask(mountNow(6)), send(goodbye(0))];
    try {
      await listen([...steps, { end: 'serve' }]);
      expect((await runHelper(...mountArguments('-n'))).status).toBe(0);
      expect(readFileSync(UTAB, 'utf8')).not.toContain(mount);
      unmount(mount, 0);
      expect((await runHelper(...mountArguments())).status).toBe(0);
      expect(readFileSync(UTAB, 'utf8')).toContain(`TARGET=${mount} `);
      expect(readFileSync(UTAB, 'utf8')).toContain('OPTS=x-test=1');
      execFileSync('umount', [mount], limited);
    } finally {
      if (madeFile) rmSync(UTAB);
      if (madeDirectory) rmSync('/run/mount', { recursive: true });
    }
  });
});

describe('a service that fails', () => {
  it.each(STAGES)('%s leaves nothing behind', async (_when, steps) => {
    const { serviceEnded } = bound(await listen([...steps(), { end: 'die' }]));
    const { status, stderr } = await runHelper(...mountArguments());
    expect(status).toBe(1);
    expect(stderr).toMatch(/^fuservicemount: service exited without saying goodbye/m);
    expect(stderr).toContain('journalctl');
    await serviceEnded();
    expect(mountLines()).toEqual([]);
    expect(loopsOver(image)).toBe('');
  });

  it.each(STAGES)('because the helper was killed %s leaves nothing behind', async (_when, steps) => {
    const { printed, serviceEnded } = bound(await listen([...steps(), { say: 'stage' }, { receive: 100 }]));
    const helper = new WatchedProcess(helperProgram, mountArguments());
    await printed(/service: stage/);
    helper.child.kill('SIGKILL');
    await helper.ended;
    await serviceEnded();
    expect(mountLines()).toEqual([]);
    expect(loopsOver(image)).toBe('');
  });

  it.each([0, 1, 2, 256])('with goodbye %i and no mount gives exit status 1', async (code) => {
    await listen([...begin, send(goodbye(code))]);
    const { status, stderr } = await runHelper(...mountArguments());
    expect(status).toBe(1);
    expect(stderr).toContain(`fuservicemount: service gave up: exit code ${code}\n`);
  });

  it('in the person of fuse4fs says why', async () => {
    const fuse4fs = join(programs, 'fuse4fs');
    await bundleProgram('service/fuse4fs.ts', fuse4fs);
    service = await ScriptedService.listen(fuse4fs, subtype, []);
    const { status, stderr } = await runHelper(...mountArguments());
    expect(status).toBe(1);
    expect(stderr).toMatch(/^fuservicemount: service gave up: fuse4fs: .*superblock/m);
    expect((await runHelper(...mountArguments('-o', 'no_such_option'))).stderr).toMatch(
      /service gave up: .*no_such_option/,
    );
  });

  it('by asking without end is given up', async () => {
    const asking = Array.from({ length: 1000 }, () => ask(type(2))).flat();
    await listen([...begin, ...asking]);
    const { status, stderr } = await runHelper(...mountArguments());
    expect(status).toBe(1);
    expect(stderr).toContain('service does not come to an end');
    expect(stderr.split('\n').length, 'lines on the terminal').toBeLessThan(30);
  });

  it('after being refused something has that named', async () => {
    await listen([...begin, ...ask(open('/etc/shadow\u001b[2J')), send(goodbye(1))]);
    const { stderr } = await runHelper(...mountArguments());
    expect(stderr).toContain('last refusal: open /etc/shadow\\x1b[2J: not named on the command line');
    expect(stderr).not.toContain('\u001b');
  });

  it('gives mount(8) the status of a failed mount, never that of a missing service', async () => {
    const link = join(room, 'mount.fuse.x');
    symlinkSync(helperProgram, link);
    const args = mountArguments();
    expect((await ending(new WatchedProcess(link, args))).status).toBe(32);
    await listen([...begin, send(goodbye(2))]);
    const { status, stderr } = await ending(new WatchedProcess(link, args));
    expect(status).toBe(32);
    expect(stderr).toMatch(/^mount\.fuse\.x: service gave up: exit code 2$/m);
  });
});

describe('without a service', () => {
  it('exits 2 when nobody has made the socket, or nobody listens', async () => {
    const absent = await runHelper(...mountArguments());
    expect(absent.status).toBe(2);
    expect(absent.stderr).toBe(`fuservicemount: no safe filesystem driver for ${subtype} available\n`);
    const { socketPath } = await listen([]);
    const path = `${socketPath}-stale`;
    execFileSync('mv', [socketPath, path]);
    await service?.close();
    expect((await runHelper(image, mount, '-t', `${subtype}-stale`)).status).toBe(2);
    rmSync(path);
  });

  it('exits 1 when the socket is of another kind', async () => {
    const made = !existsSync(SOCKET_DIRECTORY);
    mkdirSync(SOCKET_DIRECTORY, { recursive: true });
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(SOCKET_DIRECTORY, subtype), resolve));
    try {
      const { status, stderr } = await runHelper(...mountArguments());
      expect(status).toBe(1);
      expect(stderr).toContain('EPROTOTYPE');
    } finally {
      await new Promise((resolve) => server.close(resolve));
      if (made) rmdirSync(SOCKET_DIRECTORY);
    }
  });

  it.each([
    [['a', 'b', '-t', 'fuse.a/b'], /path separators/],
    [['a', 'b', '-t', `fuse.${'x'.repeat(100)}`], /too long/],
    [['a', 'b', '-t', '..'], /no file system subtype/],
    [['a', 'b'], /cannot determine filesystem type/],
    [['-t', 'x'], /give a source and a mount point/],
    [['a', 'b', '-t', 'x', '-Z'], /unknown option -Z/],
    [['a', 'b', '-t'], /argument missing/],
    [['a', 'b', '-t', 'x', '-N', '/proc/1/ns/mnt'], /another namespace/],
  ])('refuses %j', async (args, message) => {
    const { status, stderr } = await runHelper(...args);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^fuservicemount: /);
    expect(stderr).toMatch(message);
  });

  it('explains itself', async () => {
    const { status, stdout } = await runHelper('--help');
    expect(status).toBe(0);
    expect(stdout).toContain('SOURCE MOUNTPOINT -t TYPE');
  });
});

describe('the check for a service', () => {
  it('looks for a socket and starts nothing', async () => {
    expect((await runHelper('-t', `fuse.${subtype}`, '--check')).status).toBe(1);
    const { output } = await listen([]);
    for (const prefix of ['fuse.', 'fuseblk.', ''])
      expect((await runHelper('--check', '-t', `${prefix}${subtype}`)).status).toBe(0);
    expect(service?.output).toBe(output);
    expect((await runHelper('-t', 'a/b', '--check')).status).toBe(1);
  });

  it('says no where the caller may not connect', async () => {
    const { socketPath } = await listen([]);
    chmodSync(socketPath, 0o600);
    expect((await asNobody('-t', subtype, '--check')).status).toBe(1);
    chmodSync(socketPath, 0o602);
    expect((await asNobody('-t', subtype, '--check')).status).toBe(0);
  });
});

describe('a caller without root', () => {
  let deviceMode: number;

  beforeEach(() => {
    deviceMode = statSync('/dev/fuse').mode & 0o7777;
    // As distributions set it up.
    chmodSync('/dev/fuse', 0o666);
    chownSync(mount, NOBODY, NOBODY);
  });
  afterEach(() => chmodSync('/dev/fuse', deviceMode));

  it('mounts through fusermount3, and the service serves the descriptor it got first', async () => {
    const { printed, serviceEnded } = bound(await listen(goodService()));
    expect(await asNobody(...mountArguments())).toEqual({ status: 0, stdout: '', stderr: '' });
    const [line] = mountLines();
    expect(line).toContain(`${mount} rw,nosuid,nodev,relatime `);
    expect(line).toContain(`- fuse.${subtype} ${image} rw,user_id=${NOBODY},group_id=${NOBODY}`);
    await printed(/opcode 26/);
    execFileSync('setpriv', [...dropToNobody, 'fusermount3', '-u', mount], limited);
    await printed(/unmounted, errno 19/);
    await serviceEnded();
  });

  it('gets flags, options and odd names through', async () => {
    const name = join(room, 'a,b\\c');
    writeFileSync(name, '');
    const set = [type(0), source(name), mountPoint(mount), options('default_permissions,max_read=65536')];
    await listen([
      ...begin,
      ...set.flatMap(ask),
      ...ask(mountNow(0x1 | 0x8 | 0x400)),
      send(goodbye(0)),
      { end: 'serve' },
    ]);
    expect((await asNobody(name, mount, '-t', subtype)).status).toBe(0);
    const [line] = mountLines();
    expect(line).toContain(`${mount} ro,nosuid,nodev,noexec,noatime `);
    expect(line).toContain(
      `${room}/a,b\\134c ro,user_id=${NOBODY},group_id=${NOBODY},default_permissions,max_read=65536`,
    );
  });

  it('keeps no mount whose service died', async () => {
    const { serviceEnded } = bound(await listen([...mounting(), { end: 'die' }]));
    expect((await asNobody(...mountArguments())).status).toBe(1);
    await serviceEnded();
    expect(mountLines()).toEqual([]);
  });

  it.each(STAGES)('that is killed %s keeps no mount', async (_when, steps) => {
    const { printed, serviceEnded } = bound(await listen([...steps(), { say: 'stage' }, { receive: 100 }]));
    const helper = new WatchedProcess('setpriv', [...dropToNobody, helperProgram, ...mountArguments()]);
    await printed(/service: stage/);
    helper.child.kill('SIGKILL');
    // Also of the guard, which writes to the same standard error.
    await helper.ended;
    await serviceEnded();
    expect(mountLines()).toEqual([]);
  });

  it('that is killed together with its process group keeps no mount', async () => {
    const { printed, serviceEnded } = bound(await listen([...mounting(), { say: 'stage' }, { receive: 100 }]));
    const helper = new WatchedProcess('setsid', ['setpriv', ...dropToNobody, helperProgram, ...mountArguments()]);
    await printed(/service: stage/);
    // setsid made it the leader of a group.
    process.kill(-(helper.child.pid ?? Number.NaN), 'SIGKILL');
    await helper.ended;
    await serviceEnded();
    expect(mountLines()).toEqual([]);
  });

  it('can not mount where only others may write', async () => {
    chownSync(mount, 0, 0);
    await listen([...mounting(), send(goodbye(1))]);
    const { status, stderr } = await asNobody(...mountArguments());
    expect(status).toBe(1);
    expect(stderr).toContain('fusermount3');
    expect(mountLines()).toEqual([]);
    await service?.printed(/got REPL 1/);
  });

  it('is not offered fuseblk, nor loop devices, nor files that it can not read', async () => {
    chmodSync(image, 0o600);
    await listen([...begin, ...ask(type(1)), ...openLoop(), send(goodbye(1))]);
    const { status, stderr } = await asNobody(...mountArguments());
    expect(status).toBe(1);
    expect(stderr).toContain(`${image}: permission denied`);
    expect(stderr).toContain('only root may');
  });

  it('is told when fusermount3 is missing', async () => {
    await listen([...mounting(), send(goodbye(1))]);
    const args = [...dropToNobody, helperProgram, ...mountArguments()];
    const { status, stderr } = await ending(new WatchedProcess('/usr/bin/setpriv', args, { PATH: room }));
    expect(status).toBe(1);
    expect(stderr).toContain('fusermount3: not found');
    expect(mountLines()).toEqual([]);
  });

  it('is told when /dev/fuse is closed to him', async () => {
    chmodSync('/dev/fuse', 0o600);
    await listen(begin);
    const { status, stderr } = await asNobody(...mountArguments());
    expect(status).toBe(1);
    expect(stderr).toContain('open /dev/fuse: EACCES');
  });
});

const dropToNobody = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--'];

function asNobody(...args: string[]): Promise<Ending> {
  return ending(new WatchedProcess('setpriv', [...dropToNobody, helperProgram, ...args]));
}

/** Methods that can be used by themselves. */
function bound(listening: ScriptedService): Pick<ScriptedService, 'printed' | 'serviceEnded'> {
  return {
    printed: (pattern) => listening.printed(pattern),
    serviceEnded: () => listening.serviceEnded(),
  };
}
