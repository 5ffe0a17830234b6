import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { compiledAddon } from '../support/compiled-tool.ts';
import { addonPath } from './fixtures/scratch.ts';

const EPERM = 1;
const EACCES = 13;

interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

const SEAL = '[addon.setNoNewPrivileges(), addon.denyOutsideAccess() > 0, addon.restrictSystemCalls()]';

/**
 * Runs `script` in a Node process of its own that has all the rights of the tests, the addon as `addon`, and a thread
 * of the event loop's pool. It prints by `say`, and reads a file's beginning by `textOf`.
 */
function inChild(script: string, flags: readonly string[] = []): Ended {
  const source = `
    const fs = require('node:fs');
    const addon = require(${JSON.stringify(addonPath)});
    const forbidden = require(${JSON.stringify(compiledAddon('forbidden-calls'))});
    const environment = Object.entries(process.env).map((pair) => pair.join('='));
    const say = (value) => fs.writeSync(1, JSON.stringify(value) + '\\n');
    const rings = fs.readdirSync('/proc/self/fd').some((fd) => {
      try { return fs.readlinkSync('/proc/self/fd/' + fd).includes('io_uring'); } catch { return false; }
    });
    if (rings) for (const fd of [0, 1, 2]) addon.setCloseOnExec(fd, false);
    if (rings) addon.executeWithoutRings(process.execPath, [process.argv0, ...process.execArgv], environment);
    const textOf = (fd) => {
      const bytes = Buffer.alloc(8192);
      return bytes.toString('latin1', 0, fs.readSync(fd, bytes, 0, bytes.length, 0));
    };
    fs.stat('/', async () => { ${script} });`;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [...flags, '-e', source], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  return { status, signal, stdout, stderr };
}

/** What the script said, line by line. */
function said(script: string, flags: readonly string[] = []): unknown[] {
  const child = inChild(script, flags);
  if (child.status !== 0) throw new Error(`child ended with ${child.status ?? child.signal}: ${child.stderr}`);
  return child.stdout
    .trim()
    .split('\n')
    .map((line): unknown => JSON.parse(line));
}

type Attempt = readonly [name: string, result: number];

describe('what a sealed server can not do', () => {
  const ATTEMPTS = 'say(forbidden.attempt(false)); say(forbidden.attempt(true));';
  const [free] = said(ATTEMPTS) as Attempt[][];
  const [sealing, here, onOldThread] = said(`say(${SEAL}); ${ATTEMPTS}`) as [unknown, Attempt[], Attempt[]];
  const refusals = free.map(([name]) => [name, -EPERM]);

  it('more than a hundred of these calls are not refused without the seal', () => {
    expect(free.filter(([, result]) => result !== -EPERM).length).toBeGreaterThan(100);
  });

  it('sealing works on this kernel, Landlock included', () => {
    expect(sealing).toEqual([0, true, 0]);
  });

  it('each of them is refused to the thread that sealed', () => {
    expect(here).toEqual(refusals);
  });

  it('each of them is refused to a thread that was there before', () => {
    expect(onOldThread).toEqual(refusals);
  });

  it('a call by the conventions of another processor ends the process', () => {
    expect(inChild('forbidden.foreignCall(); say("alive")')).toMatchObject({ status: 0, stdout: '"alive"\n' });
    expect(inChild(`${SEAL}; forbidden.foreignCall(); say("alive")`)).toMatchObject({ signal: 'SIGSYS', stdout: '' });
  });

  it('every thread has the filter, and later ones too', () => {
    const [filters] = said(`
      const tasks = fs.opendirSync('/proc/self/task');
      const before = []; for (let entry; (entry = tasks.readSync()) !== null;) before.push(entry.name);
      const statuses = before.map((task) => fs.openSync('/proc/self/task/' + task + '/status'));
      ${SEAL};
      say(statuses.map((fd) => /^Seccomp:\\s+(\\d)/m.exec(textOf(fd))?.[1]));`) as [string[]];
    expect(filters.length).toBeGreaterThan(5);
    expect(new Set(filters)).toEqual(new Set(['2']));
  });
});

describe('Landlock alone', () => {
  it('keeps every thread from opening anything, and lets open descriptors work', () => {
    expect(
      said(`
        const fd = fs.openSync('/etc/passwd');
        say([addon.setNoNewPrivileges(), addon.denyOutsideAccess() > 0]);
        let here = 0; try { fs.openSync('/etc/passwd'); } catch (error) { here = error.errno; }
        const pool = await Promise.all(Array.from({ length: 8 }, () =>
          fs.promises.open('/etc/passwd').then(() => 0, (error) => error.errno)));
        const old = new Map(forbidden.attempt(true));
        say([here, ...pool, old.get('openat of a file'), old.get('kill')]);
        say(fs.readSync(fd, Buffer.alloc(4)));`),
    ).toEqual([[0, true], [...Array.from({ length: 10 }, () => -EACCES), -EPERM], 4]);
  });

  it('leaves no signal handler behind', () => {
    const [ignored] = said(`
      const status = fs.openSync('/proc/self/status');
      const caught = () => /^SigCgt:.*$/m.exec(textOf(status))[0];
      const before = caught();
      addon.setNoNewPrivileges(); addon.denyOutsideAccess();
      say([before, caught()]);`) as [string[]];
    expect(ignored[1]).toBe(ignored[0]);
  });
});

describe('what a sealed server can do', () => {
  it('runs, compiles, collects garbage, waits, and starts threads', () => {
    const script = `
      ${SEAL};
      process.title = 'another name';
      let sum = 0;
      const hot = (value) => { sum = (sum + value * 3) | 0; return { value, text: 'x' + value }; };
      const kept = [];
      for (let i = 0; i < 3_000_000; i++) { const made = hot(i); if (i % 100 === 0) kept.push(made); }
      gc(); gc();
      const refused = () => fs.promises.open('/').catch((error) => error.code);
      const old = await Promise.all(Array.from({ length: 16 }, refused));
      await new Promise((resolve) => setImmediate(resolve));
      const big = new Uint8Array(64 << 20).fill(1);
      say([sum, kept.length, [...new Set(old)], big[1], process.title, typeof process.resourceUsage().maxRSS]);`;
    for (const flags of [['--expose-gc'], ['--expose-gc', '--jitless'], ['--expose-gc', '--single-threaded']])
      expect(said(script, flags)).toEqual([[expect.any(Number), 30_000, ['EPERM'], 1, 'another name', 'number']]);
  });

  it('ends with a message and exit code 1 when an error is not caught', () => {
    const child = inChild(`${SEAL}; throw new Error('so it is');`);
    expect(child.status).toBe(1);
    expect(child.stderr).toContain('so it is');
  });

  it('writes to the standard streams that it touches for the first time', () => {
    const child = inChild(`${SEAL}; process.stderr.write('an error\\n'); process.stdout.write('a notice\\n');`);
    expect(child).toMatchObject({ status: 0, stderr: 'an error\n', stdout: 'a notice\n' });
  });

  it('aborts', () => {
    expect(inChild(`${SEAL}; process.abort();`).signal).toBe('SIGABRT');
  });

  it('ends when memory is used up, and does not hang', () => {
    const child = inChild(`${SEAL}; const all = []; for (;;) all.push(new Array(10_000).fill(all.length));`, [
      '--max-old-space-size=64',
    ]);
    expect(child.stderr).toContain('heap out of memory');
    expect(child.signal === 'SIGABRT' || child.signal === 'SIGTRAP').toBe(true);
  });

  it('takes signals, and starts no inspector when it is asked to', () => {
    const child = inChild(`
      process.once('SIGTERM', () => { say('told to end'); process.exit(3); });
      const { spawn } = require('node:child_process');
      const kill = 'read x; kill -USR1 ' + process.pid + '; kill -TERM ' + process.pid;
      const killer = spawn('sh', ['-c', kill], { stdio: ['pipe', 'ignore', 'ignore'] });
      ${SEAL};
      killer.stdin.end('go\\n');
      setInterval(() => {}, 1000);`);
    expect(child).toMatchObject({ status: 3, stdout: '"told to end"\n' });
    expect(child.stderr).not.toContain('listening');
  });
});
