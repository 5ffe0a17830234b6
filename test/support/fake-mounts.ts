import type { MountClient } from '../../ctl/agent-process.ts';
import type { Tools } from '../../ctl/commands.ts';
import type { MountAnswer, MountRequest } from '../../ctl/mount-requests.ts';
import type { BusCall, SystemBus } from '../../ctl/system-bus.ts';
import { Units } from '../../ctl/units.ts';
import { type MountStatistics, NO_JOURNAL } from '../../shared/mount-statistics.ts';

export const STATISTICS: MountStatistics = Object.freeze({
  version: 1,
  program: '0.1.0',
  pid: 4711,
  device: '/dev/loop0',
  mountPoint: '/mnt/one',
  uptimeSeconds: 3725,
  state: 'read-write',
  operations: [
    { name: 'LOOKUP', requests: 90, errors: 7 },
    { name: 'WRITE', requests: 110, errors: 0 },
  ],
  cache: { blockSizeBytes: 4096, blocks: 256, capacityBlocks: 8192, hits: 975, misses: 25, pressures: 2 },
  journal: { ...NO_JOURNAL, logBlocks: 1000, logBlocksFree: 750, commits: 12, runningBlocks: 3, pendingBlocks: 40 },
  process: {
    userMicroseconds: 1_500_000,
    systemMicroseconds: 500_000,
    peakResidentKiB: 65_536,
    heapBytes: 2 ** 24,
    externalBytes: 2 ** 22,
  },
});

export const told = (statistics: MountStatistics): MountAnswer => ({ ok: true, statistics, trimmedBytes: 0 });

/** Servers whose answers follow from the mount point; notes what they were asked. */
export class FakeMounts implements MountClient {
  readonly asked: MountRequest[] = [];
  readonly #answers: (request: MountRequest) => MountAnswer;

  constructor(answers: (request: MountRequest) => MountAnswer) {
    this.#answers = answers;
  }

  async ask(request: MountRequest): Promise<MountAnswer> {
    this.asked.push(request);
    return this.#answers(request);
  }

  close(): void {}
}

/** What systemd says of a unit, by name of the property. */
export type UnitProperties = Readonly<Record<string, unknown>>;

/** A system bus with a systemd that has units of processes; `failure` is thrown by every call. */
export class FakeBus implements SystemBus {
  readonly calls: BusCall[] = [];
  readonly #units: ReadonlyMap<number, UnitProperties>;
  readonly #failure: Error | null;

  constructor(units: ReadonlyMap<number, UnitProperties>, failure: Error | null = null) {
    this.#units = units;
    this.#failure = failure;
  }

  async call(request: BusCall): Promise<readonly unknown[]> {
    this.calls.push(request);
    if (this.#failure !== null) throw this.#failure;
    if (request.member === 'GetUnitByPID') return [this.#pathOf(Number(request.body[0]))];
    return [this.#units.get(Number(request.path.split('_').at(-1))) ?? {}];
  }

  #pathOf(pid: number): string {
    if (this.#units.has(pid)) return `/org/freedesktop/systemd1/unit/process_${pid}`;
    throw Object.assign(new Error(`PID ${pid} does not belong to any loaded unit.`), {
      type: 'org.freedesktop.systemd1.NoUnitForPID',
    });
  }

  close(): void {}
}

export interface RecordedTools extends Tools {
  readonly said: string[];
  readonly noted: string[];
}

export function toolsOn(mountTable: string, client: MountClient, bus: SystemBus): RecordedTools {
  const said: string[] = [];
  const noted: string[] = [];
  return {
    mountTable: () => mountTable,
    client,
    units: new Units(() => bus),
    out: (text) => said.push(text),
    note: (text) => noted.push(text),
    isTerminal: false,
    said,
    noted,
  };
}
