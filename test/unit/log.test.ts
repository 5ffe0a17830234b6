import { closeSync, fstatSync, openSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { descriptorStream, isJournal, LineLimiter, Log, type LogStream } from '../../shared/log.ts';

class Recorder implements LogStream {
  readonly journal: boolean;
  readonly lines: string[] = [];

  constructor(journal = false) {
    this.journal = journal;
  }

  write(line: string): void {
    this.lines.push(line);
  }
}

const limiterAt = (clock: { ms: number }): LineLimiter => new LineLimiter(() => clock.ms, 3, 5_000, 60_000);

describe('a log', () => {
  it('puts errors on one stream and all else on the other', () => {
    const errors = new Recorder();
    const notices = new Recorder();
    const log = new Log('sda1', errors, notices, limiterAt({ ms: 0 }));
    log.error('cannot read');
    log.notice('mounted filesystem');
    log.debug('lookup');
    expect(errors.lines).toEqual(['FUSE4FS (sda1): cannot read\n']);
    expect(notices.lines).toEqual([
      'FUSE4FS (sda1): mounted filesystem\n',
      `FUSE4FS (sda1): tid=${process.pid} lookup\n`,
    ]);
  });

  it('tells the journal its priorities', () => {
    const journal = new Recorder(true);
    const log = new Log('sda1', journal, journal, limiterAt({ ms: 0 }));
    log.error('a');
    log.notice('c');
    log.debug('d');
    expect(journal.lines.map((line) => line.slice(0, 3))).toEqual(['<3>', '<5>', '<7>']);
  });

  it('keeps one message on one line', () => {
    const errors = new Recorder();
    new Log('x\ny', errors, errors, limiterAt({ ms: 0 })).error('bad name "a\nFUSE4FS (z): fake\x1b[2J"');
    expect(errors.lines).toEqual(['FUSE4FS (x\\x0ay): bad name "a\\x0aFUSE4FS (z): fake\\x1b[2J"\n']);
  });

  it('survives a stream that fails', () => {
    const fd = openSync('/dev/full', 'w');
    const broken = descriptorStream(fd, false);
    expect(() => broken.write('x')).toThrow();
    const log = new Log('sda1', broken, broken, limiterAt({ ms: 0 }));
    expect(() => log.error('no space')).not.toThrow();
    closeSync(fd);
    expect(() => log.notice('bad descriptor')).not.toThrow();
  });
});

describe('repeated errors', () => {
  it('appear once per minute each', () => {
    const errors = new Recorder();
    const clock = { ms: 0 };
    const log = new Log('sda1', errors, errors, limiterAt(clock));
    for (let i = 0; i < 100; i++) log.limitedError('inode 12: bad magic');
    clock.ms = 60_000;
    log.limitedError('inode 12: bad magic');
    expect(errors.lines).toEqual([
      'FUSE4FS (sda1): inode 12: bad magic\n',
      'FUSE4FS (sda1): inode 12: bad magic (99 more messages suppressed)\n',
    ]);
  });

  it('of all kinds together fill at most a burst per window', () => {
    const errors = new Recorder();
    const clock = { ms: 0 };
    const log = new Log('sda1', errors, errors, limiterAt(clock));
    for (let inode = 0; inode < 5_000; inode++) log.limitedError(`inode ${inode}: bad checksum`);
    expect(errors.lines).toHaveLength(3);
    clock.ms = 5_000;
    log.limitedError('inode 1: something else');
    expect(errors.lines[3]).toBe('FUSE4FS (sda1): inode 1: something else (4997 more messages suppressed)\n');
  });

  it('are remembered in bounded memory, the oldest forgotten first', () => {
    const limiter = new LineLimiter(() => 0, Number.POSITIVE_INFINITY, 5_000, 60_000);
    for (let i = 0; i <= LineLimiter.TEXTS_MAX; i++) expect(limiter.admit(`text ${i}`)).toBe(0);
    expect(limiter.admit('text 1')).toBeNull();
    expect(limiter.admit('text 0')).toBe(1);
  });
});

describe('the journal', () => {
  it('is recognised by device and inode number', () => {
    const fd = openSync('/dev/null', 'w');
    try {
      const status = fstatSync(fd);
      expect(isJournal(fd, `${status.dev}:${status.ino}`)).toBe(true);
      expect(isJournal(fd, `${status.dev}:${status.ino + 1}`)).toBe(false);
      expect(isJournal(fd, undefined)).toBe(false);
    } finally {
      closeSync(fd);
    }
  });

  it('is not behind a closed descriptor', () => {
    expect(isJournal(2 ** 20, '1:1')).toBe(false);
  });
});
