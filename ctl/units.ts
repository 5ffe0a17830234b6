import type { SystemBus } from './system-bus.ts';

/** The systemd unit that a server runs in. Null: systemd does not count that. */
export interface Unit {
  readonly name: string;
  readonly activeState: string;
  /** ISO 8601. */
  readonly activeSince: string | null;
  readonly memoryBytes: number | null;
  readonly cpuSeconds: number | null;
  readonly statusText: string;
}

const SYSTEMD = 'org.freedesktop.systemd1';
/** What a server says of itself is believed only as far as this. */
const UNIT_NAME = /^fuse4fs@[^/]*\.service$/;

/** Finds units by the processes in them. Once the bus has failed, `problem` says how, and nothing is found any more. */
export class Units {
  readonly #open: () => SystemBus;
  #bus: SystemBus | null = null;
  #problem: string | null = null;

  /** The bus is opened when it is needed. */
  constructor(open: () => SystemBus) {
    this.#open = open;
  }

  get problem(): string | null {
    return this.#problem;
  }

  /** Null when the process is in no unit of ours. */
  async ofProcess(pid: number): Promise<Unit | null> {
    if (this.#problem !== null || pid <= 0 || pid >= 2 ** 32) return null;
    const path = await this.#unitPath(pid);
    return path === null || this.#bus === null ? null : readUnit(this.#bus, path);
  }

  async #unitPath(pid: number): Promise<string | null> {
    try {
      this.#bus ??= this.#open();
      const [path] = await this.#bus.call({
        destination: SYSTEMD,
        path: '/org/freedesktop/systemd1',
        interface: `${SYSTEMD}.Manager`,
        member: 'GetUnitByPID',
        signature: 'u',
        body: [pid],
      });
      return typeof path === 'string' ? path : null;
    } catch (error) {
      if (!isAboutProcess(error)) this.#problem = error instanceof Error ? messageOf(error) : String(error);
      return null;
    }
  }

  close(): void {
    this.#bus?.close();
  }
}

/** A unit that has gone meanwhile is none. */
async function readUnit(bus: SystemBus, path: string): Promise<Unit | null> {
  try {
    const unit = await propertiesOf(bus, path, 'Unit');
    const name = textOf(unit.get('Id'));
    return UNIT_NAME.test(name) ? unitOf(name, unit, await propertiesOf(bus, path, 'Service')) : null;
  } catch {
    return null;
  }
}

async function propertiesOf(
  bus: SystemBus,
  path: string,
  kind: 'Unit' | 'Service',
): Promise<ReadonlyMap<string, unknown>> {
  const [properties] = await bus.call({
    destination: SYSTEMD,
    path,
    interface: 'org.freedesktop.DBus.Properties',
    member: 'GetAll',
    signature: 's',
    body: [`${SYSTEMD}.${kind}`],
  });
  return new Map(Object.entries(typeof properties === 'object' && properties !== null ? properties : {}));
}

function unitOf(name: string, unit: ReadonlyMap<string, unknown>, service: ReadonlyMap<string, unknown>): Unit {
  const sinceMicroseconds = countOf(unit.get('ActiveEnterTimestamp')) ?? 0;
  const cpuNanoseconds = countOf(service.get('CPUUsageNSec'));
  return {
    name,
    activeState: textOf(unit.get('ActiveState')),
    activeSince: sinceMicroseconds === 0 ? null : new Date(sinceMicroseconds / 1000).toISOString(),
    memoryBytes: countOf(service.get('MemoryCurrent')),
    cpuSeconds: cpuNanoseconds === null ? null : cpuNanoseconds / 1e9,
    statusText: textOf(service.get('StatusText')),
  };
}

/** Systemd knows the process, and it is in no unit; or it does not know it. */
function isAboutProcess(error: unknown): boolean {
  return error instanceof Error && 'type' in error && String(error.type).startsWith(`${SYSTEMD}.No`);
}

function messageOf(error: Error): string {
  return 'code' in error && error.code === 'ENOENT' ? 'there is no system bus' : error.message;
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** A 64-bit number; the largest one stands for "not known". */
function countOf(value: unknown): number | null {
  const count = typeof value === 'bigint' || typeof value === 'number' ? Number(value) : Number.NaN;
  return Number.isSafeInteger(count) ? count : null;
}
