import { fstatSync, writeSync } from 'node:fs';

/** Priorities of syslog(3), as the journal reads them from a `<N>` line prefix. */
const Priority = Object.freeze({ ERROR: 3, NOTICE: 5, DEBUG: 7 });

const STDOUT = 1;
const STDERR = 2;

/** Where lines go. `journal`: the stream is the journal's, which wants a priority before each line. */
export interface LogStream {
  readonly journal: boolean;
  /** May throw: a log line is never worth failing for. */
  write(line: string): void;
}

export function descriptorStream(fd: number, journal: boolean): LogStream {
  return { journal, write: (line) => writeSync(fd, line) };
}

/** Errors to stderr, all else to stdout. */
export function standardStreams(environment: Readonly<Record<string, string | undefined>>): [LogStream, LogStream] {
  const journal = environment.JOURNAL_STREAM;
  return [descriptorStream(STDERR, isJournal(STDERR, journal)), descriptorStream(STDOUT, isJournal(STDOUT, journal))];
}

/** `journalStream` is systemd's JOURNAL_STREAM: device and inode number of the journal's socket. */
export function isJournal(fd: number, journalStream: string | undefined): boolean {
  if (journalStream === undefined) return false;
  try {
    const status = fstatSync(fd, { bigint: true });
    return journalStream === `${status.dev}:${status.ino}`;
  } catch {
    return false;
  }
}

/**
 * Keeps a damaged file system from flooding the log: the same text appears once per `quietMs`, and at most
 * `burst` lines of any kind per `windowMs`. Times are milliseconds of the injected clock.
 */
export class LineLimiter {
  static readonly TEXTS_MAX = 1024;

  readonly #burst: number;
  readonly #windowMs: number;
  readonly #quietMs: number;
  readonly #nowMs: () => number;
  readonly #seenMs = new Map<string, number>();
  #windowStartMs = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #suppressed = 0;

  constructor(nowMs: () => number, burst = 10, windowMs = 5_000, quietMs = 60_000) {
    this.#nowMs = nowMs;
    this.#burst = burst;
    this.#windowMs = windowMs;
    this.#quietMs = quietMs;
  }

  /** Null to suppress this line, else how many lines were suppressed since the last one that was let through. */
  admit(text: string): number | null {
    const now = this.#nowMs();
    if (now - this.#windowStartMs >= this.#windowMs) {
      this.#windowStartMs = now;
      this.#lines = 0;
    }
    const seen = this.#seenMs.get(text);
    const repeated = seen !== undefined && now - seen < this.#quietMs;
    if (repeated || this.#lines >= this.#burst) {
      this.#suppressed += 1;
      return null;
    }
    this.#lines += 1;
    this.#remember(text, now);
    const suppressed = this.#suppressed;
    this.#suppressed = 0;
    return suppressed;
  }

  /** A Map iterates in order of insertion, so the first key is the oldest. */
  #remember(text: string, now: number): void {
    this.#seenMs.delete(text);
    this.#seenMs.set(text, now);
    if (this.#seenMs.size <= LineLimiter.TEXTS_MAX) return;
    for (const oldest of this.#seenMs.keys()) {
      this.#seenMs.delete(oldest);
      return;
    }
  }
}

/** Lines of the form `FUSE4FS (sda1): text`. Nothing here ever throws. */
export class Log {
  readonly #tag: string;
  readonly #errors: LogStream;
  readonly #notices: LogStream;
  readonly #limiter: LineLimiter;

  /** `shortDevice` is the last component of the device's path. */
  constructor(shortDevice: string, errors: LogStream, notices: LogStream, limiter: LineLimiter) {
    this.#tag = shortDevice;
    this.#errors = errors;
    this.#notices = notices;
    this.#limiter = limiter;
  }

  error(text: string): void {
    this.#line(this.#errors, Priority.ERROR, text);
  }

  notice(text: string): void {
    this.#line(this.#notices, Priority.NOTICE, text);
  }

  debug(text: string): void {
    this.#line(this.#notices, Priority.DEBUG, `tid=${process.pid} ${text}`);
  }

  /** An error that hostile or damaged content can repeat without end. */
  limitedError(text: string): void {
    const suppressed = this.#limiter.admit(text);
    if (suppressed === null) return;
    this.error(suppressed === 0 ? text : `${text} (${suppressed} more messages suppressed)`);
  }

  #line(stream: LogStream, priority: number, text: string): void {
    const line = `FUSE4FS (${this.#tag}): ${text}`.replaceAll(CONTROL_CHARACTER, escapeControl);
    try {
      stream.write(stream.journal ? `<${priority}>${line}\n` : `${line}\n`);
    } catch {
      // A full pipe or a reader that went away must not end the file system.
    }
  }
}

/** One message is one line, whatever names it quotes. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f-\u009f]/g;

function escapeControl(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
