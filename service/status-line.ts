import { trySendDatagram } from '../native/notify-socket.ts';
import type { MountStatistics } from '../shared/mount-statistics.ts';

/** Between two looks at whether there is something new to tell. */
const INTERVAL_MS = 5_000;
const TEXT_CHARACTERS_MAX = 512;

/** Tells the service manager how the mount is: one line, for `systemctl status` (sd_notify(3), STATUS=). */
export class StatusLine {
  readonly #socket: number;
  readonly #statistics: () => MountStatistics;
  #timer: NodeJS.Timeout | undefined;
  #toldRequests = -1;
  #toldState = '';

  /** `socket` is -1 when nobody listens; else it stays the caller's. */
  constructor(socket: number, statistics: () => MountStatistics) {
    this.#socket = socket;
    this.#statistics = statistics;
  }

  begin(): void {
    if (this.#socket < 0) return;
    this.#tellNews();
    this.#timer = setInterval(() => this.#tellNews(), INTERVAL_MS).unref();
  }

  /** The last word. */
  end(text: string): void {
    clearInterval(this.#timer);
    const { device, mountPoint } = this.#statistics();
    this.#send(`${device} on ${mountPoint}: ${text}`);
  }

  #tellNews(): void {
    const statistics = this.#statistics();
    const requests = sum(statistics.operations.map((operation) => operation.requests));
    if (requests === this.#toldRequests && statistics.state === this.#toldState) return;
    this.#toldRequests = requests;
    this.#toldState = statistics.state;
    this.#send(statusText(statistics, requests));
  }

  #send(text: string): void {
    if (this.#socket >= 0) trySendDatagram(this.#socket, Buffer.from(`STATUS=${oneLine(text)}`, 'utf8'));
  }
}

export function statusText(statistics: MountStatistics, requests: number): string {
  const { device, mountPoint, state, cache, journal, operations } = statistics;
  const lookups = cache.hits + cache.misses;
  const parts = [
    `${device} on ${mountPoint}: ${state}`,
    `${requests} requests, ${sum(operations.map((operation) => operation.errors))} errors`,
    `metadata cache ${lookups === 0 ? 100 : Math.floor((100 * cache.hits) / lookups)} % hits`,
  ];
  if (state === 'read-write') parts.push(`${journal.commits} commits`);
  if (journal.abortErrno !== 0) parts.push('journal aborted');
  return parts.join('; ');
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

/** Lines of a notification are assignments: a mount point's name must not make one. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, '?').slice(0, TEXT_CHARACTERS_MAX);
}
