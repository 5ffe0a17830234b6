import { describe, expect, it } from 'vitest';
import { parseCommandLine } from '../../../ctl/command-line.ts';
import { carryOut, Failure } from '../../../ctl/commands.ts';
import { Errno } from '../../../shared/errno.ts';
import { FakeBus, FakeMounts, STATISTICS, told, toolsOn, type UnitProperties } from '../../support/fake-mounts.ts';

const TABLE = `40 22 0:45 / /mnt/one rw - fuse.ext4 /dev/loop0 rw
41 22 0:46 / /mnt/hung rw - fuse.ext4 /dev/loop1 rw
42 22 0:47 / /mnt/\\033[2J rw - fuse.ext4 /dev/loop2 rw
`;
const HUNG = { ok: false, errno: Errno.ETIMEDOUT, reason: 'no answer within 10 s' } as const;
const UNIT: UnitProperties = {
  Id: 'fuse4fs@3-99-0.service',
  ActiveState: 'active',
  ActiveEnterTimestamp: BigInt(Date.UTC(2026, 0, 2)) * 1000n,
  MemoryCurrent: 50n * 2n ** 20n,
  CPUUsageNSec: 3_250_000_000n,
  StatusText: 'fine',
};
const units = new Map([[4711, UNIT]]);

function setUp(bus = new FakeBus(units)) {
  const mounts = new FakeMounts(({ mountPoint, verb }) => {
    if (mountPoint === '/mnt/hung') return HUNG;
    return verb === 'statistics' ? told(STATISTICS) : { ok: true, statistics: null, trimmedBytes: 3 * 2 ** 20 };
  });
  const tools = toolsOn(TABLE, mounts, bus);
  const run = (...words: string[]) => carryOut(parseCommandLine(words, ''), tools);
  return { mounts, tools, run, bus };
}

describe('list', () => {
  it('shows a line for each mount, whatever its server does', async () => {
    const { tools, run } = setUp();
    await run('list');
    const [head, first, second] = tools.said.join('').split('\n');
    expect(head).toMatch(/^DEVICE +MOUNT POINT +STATE +UPTIME +MEMORY +CPU +REQUESTS +CACHE HITS +LOG IN USE +UNIT$/);
    expect(first).toMatch(
      /^\/dev\/loop0 +\/mnt\/one +read-write +1h 02m +50.0 MiB +3.3s +200 +97.5 % +25.0 % +fuse4fs@3-99-0.service$/,
    );
    expect(second).toMatch(/^\/dev\/loop1 +\/mnt\/hung +no answer within 10 s +- +- +- +- +- +- +-$/);
    expect(tools.noted).toEqual([]);
  });

  it('lets no name steer the terminal', async () => {
    const { tools, run } = setUp();
    await run('list');
    expect(tools.said.join('')).toContain('/mnt/?[2J');
    expect(tools.said.join('')).not.toContain('\x1b');
  });

  it('has the same as JSON', async () => {
    const { tools, run } = setUp();
    await run('list', '--json');
    const { mounts, unitProblem } = JSON.parse(tools.said.join(''));
    expect(unitProblem).toBeNull();
    expect(mounts[0]).toEqual({
      mountPoint: '/mnt/one',
      device: '/dev/loop0',
      type: 'fuse.ext4',
      statistics: STATISTICS,
      problem: null,
      unit: {
        name: 'fuse4fs@3-99-0.service',
        activeState: 'active',
        activeSince: '2026-01-02T00:00:00.000Z',
        memoryBytes: 50 * 2 ** 20,
        cpuSeconds: 3.25,
        statusText: 'fine',
      },
    });
    expect(mounts[1]).toMatchObject({ statistics: null, problem: HUNG.reason, unit: null });
  });

  it('lets no name steer a terminal, in JSON either', async () => {
    const table = '40 22 0:45 / /mnt/\u009b2J rw - fuse.ext4 \x1b\u007f rw\n';
    const tools = toolsOn(table, new FakeMounts(() => told(STATISTICS)), new FakeBus(units));
    for (const words of [['list'], ['list', '--json'], ['status', '--json'], ['top', '--json', '-n', '1']])
      await carryOut(parseCommandLine(words, ''), tools);
    await carryOut(parseCommandLine(['sync', '--json', '/mnt/\u009b2J'], ''), tools);
    expect(tools.said.join('')).not.toMatch(/[^\P{Cc}\n]/u);
    expect(JSON.parse(tools.said[1]).mounts[0]).toMatchObject({ mountPoint: '/mnt/\u009b2J', device: '\x1b\u007f' });
  });

  it('says once why there are no units, and asks no more', async () => {
    const bus = new FakeBus(units, Object.assign(new Error('connect ENOENT /run/...'), { code: 'ENOENT' }));
    const { tools, run } = setUp(bus);
    await run('list');
    expect(tools.noted).toEqual(['units are not shown: there is no system bus']);
    expect(tools.said.join('')).toMatch(/read-write +1h 02m +<64.0 MiB +2.0s .* -\n/);
    expect(bus.calls).toHaveLength(1);
  });

  it('shows no unit for a server that runs in none, or lies about its process', async () => {
    const { tools, run } = setUp(new FakeBus(new Map([[4711, { ...UNIT, Id: 'ssh.service' }]])));
    await run('list');
    expect(tools.said.join('')).not.toContain('ssh.service');
    expect(tools.noted).toEqual([]);
    const none = setUp(new FakeBus(new Map()));
    await none.run('list');
    expect(none.tools.said.join('')).toMatch(/<64.0 MiB +2.0s .* -\n/);
    expect(none.tools.noted).toEqual([]);
  });

  it('takes what systemd does not count for unknown', async () => {
    const unknown = { ...UNIT, MemoryCurrent: 2n ** 64n - 1n, CPUUsageNSec: 2n ** 64n - 1n, ActiveEnterTimestamp: 0n };
    const { tools, run } = setUp(new FakeBus(new Map([[4711, unknown]])));
    await run('list', '--json');
    const { unit } = JSON.parse(tools.said.join('')).mounts[0];
    expect(unit).toMatchObject({ memoryBytes: null, cpuSeconds: null, activeSince: null });
  });
});

describe('status', () => {
  it('shows all about the one mount that is meant, by mount point or device', async () => {
    for (const name of ['/mnt/one', '/dev/loop0', '/mnt/../mnt/one/']) {
      const { tools, run, mounts } = setUp();
      await run('status', name);
      const text = tools.said.join('');
      expect(mounts.asked).toHaveLength(1);
      for (const line of [
        /^\/dev\/loop0\n/,
        /State +read-write\n/,
        /Journal +log of 1000 blocks, 250 in use, 12 commits\n/,
        /Metadata cache +97.5 % hits, 1.0 MiB of 32.0 MiB, shrunk 2 times\n/,
        /Unit +fuse4fs@3-99-0.service \(active\)\n/,
        /WRITE +110 +0\n +LOOKUP +90 +7\n/,
      ])
        expect(text).toMatch(line);
    }
  });

  it('of a mount whose server hangs is a failure', async () => {
    const { tools, run } = setUp();
    await expect(run('status', '/mnt/hung')).rejects.toThrow('/mnt/hung: no answer within 10 s');
    expect(tools.said.join('')).toContain('Problem');
  });

  it('of something else is a failure', async () => {
    await expect(setUp().run('status', '/etc')).rejects.toThrow(Failure);
  });
});

describe('top', () => {
  it('shows what was done between two looks', async () => {
    let requests = 100;
    const mounts = new FakeMounts(() => {
      requests += 1000;
      return told({ ...STATISTICS, operations: [{ name: 'READ', requests, errors: 0 }] });
    });
    const tools = toolsOn(TABLE.split('\n')[0], mounts, new FakeBus(new Map()));
    await carryOut(parseCommandLine(['top', '--json', '-n', '2', '-d', '0.01'], ''), tools);
    const [first, second] = tools.said.map((line) => JSON.parse(line).mounts[0]);
    expect([first.requestsPerSecond, first.cpuShare]).toEqual([null, null]);
    expect(second.requestsPerSecond).toBeGreaterThan(0);
    expect(second.cpuShare).toBe(0);
  });
});

describe('sync, trim and shutdown', () => {
  it.each(['sync', 'trim', 'shutdown'] as const)('%s asks the one mount that is meant', async (verb) => {
    const { run, mounts, tools } = setUp();
    await run(verb, '/dev/loop0');
    expect(mounts.asked).toEqual([{ verb, mountPoint: '/mnt/one', deviceNumber: 45, leastBytes: 0 }]);
    expect(tools.said.join('')).toBe(verb === 'trim' ? '/mnt/one: 3.0 MiB (3145728 bytes) trimmed\n' : '');
  });

  it('fail with the reason that the server gave', async () => {
    await expect(setUp().run('sync', '/mnt/hung')).rejects.toThrow('/mnt/hung: no answer within 10 s');
  });
});
