import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { addonPath } from './fixtures/scratch.ts';

/** Credentials of one thread, as /proc shows them. */
interface ThreadStatus {
  readonly Uid: string;
  readonly Gid: string;
  readonly Groups: string;
  readonly CapInh: string;
  readonly CapPrm: string;
  readonly CapEff: string;
  readonly CapBnd: string;
  readonly CapAmb: string;
  readonly NoNewPrivs: string;
}

interface Outcome {
  readonly results: number[];
  readonly threads: ThreadStatus[];
  readonly [key: string]: unknown;
}

/**
 * Runs `script` in a Node process of its own, with the addon as `addon`. The expression must give an array of
 * results; afterwards the status of every thread is collected, the main one first.
 */
function inChild(script: string, extra = '{}'): Outcome {
  const source = `
    const fs = require('node:fs');
    const addon = require(${JSON.stringify(addonPath)});
    const status = (task) => Object.fromEntries(fs.readFileSync('/proc/self/task/' + task + '/status', 'utf8')
      .split('\\n').map((line) => line.split(':')).filter((pair) => pair.length === 2)
      .map(([key, value]) => [key, value.trim().replaceAll('\\t', ' ')]));
    // A pool thread of the event loop exists before privileges go.
    fs.stat('/', () => {
      const results = ${script};
      const tasks = fs.readdirSync('/proc/self/task').sort((a, b) => a - b);
      console.log(JSON.stringify({ results, threads: tasks.map(status), ...${extra} }));
    });`;
  const child = spawnSync(process.execPath, ['-e', source], { encoding: 'utf8' });
  if (child.status !== 0) throw new Error(`child ended with ${child.status ?? child.signal}: ${child.stderr}`);
  return JSON.parse(child.stdout) as Outcome;
}

const NO_CAPABILITIES = '0000000000000000';
const NOBODY = '65534 65534 65534 65534';

describe('giving up privilege in order', () => {
  const { results, threads } = inChild(
    '[addon.becomeUser(65534, 65534), addon.dropCapabilities(), addon.setNoNewPrivileges(), addon.setDumpable(false)]',
  );

  it('succeeds step by step', () => {
    expect(results).toEqual([0, 0, 0, 0]);
    expect(threads.length).toBeGreaterThan(4);
  });

  it('leaves no thread with an id, a group or a usable capability of root', () => {
    for (const thread of threads)
      expect(thread).toMatchObject({
        Uid: NOBODY,
        Gid: NOBODY,
        Groups: '',
        CapInh: NO_CAPABILITIES,
        CapPrm: NO_CAPABILITIES,
        CapEff: NO_CAPABILITIES,
        CapAmb: NO_CAPABILITIES,
      });
  });

  it('sets no_new_privs for every thread', () => {
    for (const thread of threads) expect(thread.NoNewPrivs).toBe('1');
  });

  it('empties the bounding set of the main thread', () => {
    expect(threads[0].CapBnd).toBe(NO_CAPABILITIES);
  });
});

describe('each step', () => {
  it('dropCapabilities alone empties the sets of the calling thread, and ids are fixed from then on', () => {
    const { results, threads } = inChild('[addon.dropCapabilities(), addon.becomeUser(65534, 65534)]');
    expect(results).toEqual([0, -1]);
    expect(threads[0]).toMatchObject({ CapEff: NO_CAPABILITIES, CapPrm: NO_CAPABILITIES, CapBnd: NO_CAPABILITIES });
  });

  it('setNoNewPrivileges alone reaches every thread, and can be repeated', () => {
    const { results, threads } = inChild('[addon.setNoNewPrivileges(), addon.setNoNewPrivileges()]');
    expect(results).toEqual([0, 0]);
    for (const thread of threads) expect(thread.NoNewPrivs).toBe('1');
  });

  it('a program started afterwards gains nothing', () => {
    const { ran } = inChild(
      '[addon.becomeUser(65534, 65534), addon.dropCapabilities(), addon.setNoNewPrivileges()]',
      `{ ran: require('node:child_process').execFileSync('cat', ['/proc/self/status'], { encoding: 'utf8' }) }`,
    );
    expect(ran).toMatch(/^CapEff:\s+0{16}$/m);
    expect(ran).toMatch(/^CapBnd:\s+0{16}$/m);
    expect(ran).toMatch(/^NoNewPrivs:\s+1$/m);
    expect(ran).toMatch(/^Uid:\s+65534\s+65534\s+65534\s+65534$/m);
  });

  it('setDumpable keeps other processes of the user out', () => {
    const { owner } = inChild(
      '[addon.becomeUser(65534, 65534), addon.setDumpable(true), addon.setDumpable(false)]',
      `{ owner: fs.statSync('/proc/self/status').uid }`,
    );
    expect(owner).toBe(0);
    const dumpable = inChild(
      '[addon.becomeUser(65534, 65534), addon.setDumpable(true)]',
      `{ owner: fs.statSync('/proc/self/status').uid }`,
    );
    expect(dumpable.owner).toBe(65_534);
  });

  it('setIoFlusher works exactly where CAP_SYS_RESOURCE is there', () => {
    const { results, threads } = inChild('[addon.setIoFlusher()]');
    const mayUseIt = (BigInt(`0x${threads[0].CapEff}`) & (1n << 24n)) !== 0n;
    expect(results).toEqual([mayUseIt ? 0 : -1]);
    expect(inChild('[addon.becomeUser(65534, 65534), addon.setIoFlusher()]').results).toEqual([0, -1]);
  });
});
