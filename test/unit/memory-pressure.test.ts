import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { MemoryPressure } from '../../service/memory-pressure.ts';
import { Errno } from '../../shared/errno.ts';
import { LineLimiter, Log } from '../../shared/log.ts';

const GROW_INTERVAL_MS = 10_000;

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

function setUp() {
  const lines: string[] = [];
  const events: string[] = [];
  const stream = { journal: false, write: (line: string) => lines.push(line) };
  let steps = 0;
  const caches = {
    shrink: () => {
      events.push('shrink');
      steps += 2;
    },
    grow: () => {
      events.push('grow');
      steps--;
      return steps === 0;
    },
  };
  const log = new Log('test', stream, stream, new LineLimiter(() => 0));
  const pressure = new MemoryPressure(caches, log, () => events.push('collect'));
  return { pressure, events, lines };
}

describe('memory pressure', () => {
  it('shrinks the caches, and lets them grow again until they are what they were', () => {
    const { pressure, events } = setUp();
    pressure.fired(Errno.OK, 1000);
    expect(events).toEqual(['shrink', 'collect']);
    vi.advanceTimersByTime(10 * GROW_INTERVAL_MS);
    expect(events.slice(2)).toEqual(['grow', 'grow']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('shrinks them again each time, and grows by one timer', () => {
    const { pressure, events } = setUp();
    for (let round = 1; round <= 3; round++) pressure.fired(Errno.OK, 2000 * round);
    expect(events.filter((event) => event === 'shrink')).toHaveLength(3);
    expect(vi.getTimerCount()).toBe(1);
    pressure.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('of the machine and of the group at once is one', () => {
    const { pressure, events } = setUp();
    pressure.fired(Errno.OK, 1000);
    pressure.fired(Errno.OK, 1001);
    expect(events).toEqual(['shrink', 'collect']);
  });

  it('that never ends is no pressure: it is not watched any more', () => {
    const { pressure, events, lines } = setUp();
    for (let count = 0; count < 5; count++) pressure.fired(Errno.OK, 1000 + count);
    expect(lines).toEqual(['FUSE4FS (test): memory pressure is not watched any more\n']);
    expect(events).toEqual(['shrink', 'collect']);
    pressure.close();
  });

  it('that cannot be polled changes nothing', () => {
    const { pressure, events, lines } = setUp();
    pressure.fired(Errno.EBADF, 1000);
    expect(lines).toHaveLength(1);
    expect(events).toEqual([]);
  });

  it('is not watched where the descriptor is no file of it', () => {
    const { pressure, lines } = setUp();
    pressure.watch([9999]);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('memory pressure is not watched');
  });
});
