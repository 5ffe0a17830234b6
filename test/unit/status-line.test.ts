import { describe, expect, it } from 'vitest';
import { statusText } from '../../service/status-line.ts';
import { isPressureFile } from '../../shared/system-files.ts';
import { STATISTICS } from '../support/fake-mounts.ts';

describe('the status line', () => {
  it('has device, mount point, state and counters', () => {
    expect(statusText(STATISTICS, 200)).toBe(
      '/dev/loop0 on /mnt/one: read-write; 200 requests, 7 errors; metadata cache 97 % hits; 12 commits',
    );
  });

  it('has no commits where nothing is written', () => {
    expect(statusText({ ...STATISTICS, state: 'read-only' }, 1)).not.toContain('commits');
  });

  it('tells that the journal was aborted', () => {
    const journal = { ...STATISTICS.journal, abortErrno: 5 };
    expect(statusText({ ...STATISTICS, state: 'aborted', journal }, 1)).toMatch(/: aborted; .*; journal aborted$/);
  });
});

describe('files of memory pressure', () => {
  const unit = '/sys/fs/cgroup/system.slice/system-fuse4fs.slice/fuse4fs@3-1234-0.service/memory.pressure';

  it.each(['/proc/pressure/memory', unit, '/sys/fs/cgroup/fuse4fs@x.service/memory.pressure'])('%s is one', (path) => {
    expect(isPressureFile(path)).toBe(true);
  });

  it.each([
    '/proc/pressure/cpu',
    '/proc/pressure/memory/',
    './proc/pressure/memory',
    `${unit}.old`,
    unit.replace('fuse4fs@3-1234-0', 'ssh'),
    unit.replace('system.slice', '..'),
    unit.replace('system.slice', '.'),
    unit.replace('system.slice', '../../proc'),
    unit.replace('memory.pressure', 'cgroup.kill'),
    unit.replace('/memory.pressure', '/../x.service/memory.pressure'),
    unit.replace('/system.slice', '//system.slice'),
    `${unit}\n`,
    `x${unit}`,
  ])('%j is none', (path) => {
    expect(isPressureFile(path)).toBe(false);
  });
});
