import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { addon } from '../../native/addon.ts';
import { trimHeap } from '../../native/heap.ts';
import { watchPressure } from '../../native/pressure-watch.ts';
import { Errno } from '../../shared/errno.ts';
import { scratchDirectory } from './fixtures/scratch.ts';

function openForTest(path: string, flags: number): number {
  const fd = openSync(path, flags);
  onTestFinished(() => closeSync(fd));
  return fd;
}

describe('watching for exceptional conditions', () => {
  it('calls back when there is one', async () => {
    // The kernel announces changes of the mount table as such (proc_pid_mounts(5)).
    const fd = openForTest('/proc/self/mountinfo', constants.O_RDONLY);
    const directory = scratchDirectory();
    const fired = new Promise<number>((resolve) => {
      const watch = new addon.PriorityWatch(fd, resolve);
      onTestFinished(() => watch.close());
    });
    // What comes before the event loop has taken the descriptor up is missed: one turn may be the rest of this one.
    for (let turn = 0; turn < 2; turn++) await nextTurn();
    expect(spawnSync('mount', ['-t', 'tmpfs', 'none', directory]).status).toBe(0);
    onTestFinished(() => {
      spawnSync('umount', [directory]);
    });
    expect(await fired).toBe(Errno.OK);
  });

  it('says at once what cannot be watched', () => {
    const errnos: number[] = [];
    const path = join(scratchDirectory(), 'file');
    writeFileSync(path, '');
    new addon.PriorityWatch(openForTest(path, constants.O_RDONLY), (errno) => errnos.push(errno)).close();
    expect(errnos).toEqual([Errno.EPERM]);
  });

  it('can be ended twice, and calls back no more', () => {
    const watch = new addon.PriorityWatch(openForTest('/proc/self/mountinfo', constants.O_RDONLY), () => {
      throw new Error('not expected');
    });
    watch.close();
    watch.close();
  });
});

describe('memory pressure', () => {
  const open = () => openForTest('/proc/pressure/memory', constants.O_RDWR | constants.O_NONBLOCK);

  it('can be watched on this kernel', () => {
    watchPressure(open(), 'some 200000 2000000', () => {}).close();
  });

  it('is refused a trigger that makes no sense', () => {
    expect(() => watchPressure(open(), 'some much often', () => {})).toThrow(/EINVAL/);
  });

  it('can be answered by giving memory back', () => {
    expect(typeof trimHeap()).toBe('boolean');
  });
});
