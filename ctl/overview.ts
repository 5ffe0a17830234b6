import type { MountStatistics } from '../shared/mount-statistics.ts';
import type { MountClient } from './agent-process.ts';
import type { Mount } from './mount-table.ts';
import type { Unit, Units } from './units.ts';

/** All that is known of one mount. */
export interface MountReport {
  readonly mountPoint: string;
  readonly device: string;
  readonly type: string;
  /** Null when the server did not tell, for the reason in `problem`. */
  readonly statistics: MountStatistics | null;
  readonly problem: string | null;
  /** Null when the server runs in no unit, or systemd can't be asked. */
  readonly unit: Unit | null;
}

export interface Overview {
  readonly mounts: readonly MountReport[];
  /** Why no units are known; null when systemd was asked, or there was nothing to ask. */
  readonly unitProblem: string | null;
}

export async function gather(mounts: readonly Mount[], client: MountClient, units: Units): Promise<Overview> {
  const reports: MountReport[] = [];
  for (const mount of mounts) reports.push(await report(mount, client, units));
  return { mounts: reports, unitProblem: units.problem };
}

async function report(mount: Mount, client: MountClient, units: Units): Promise<MountReport> {
  const { mountPoint, device, type, deviceNumber } = mount;
  const answer = await client.ask({ verb: 'statistics', mountPoint, deviceNumber, leastBytes: 0 });
  if (!answer.ok) return { mountPoint, device, type, statistics: null, problem: answer.reason, unit: null };
  const { statistics } = answer;
  const unit = statistics === null ? null : await units.ofProcess(statistics.pid);
  return { mountPoint, device, type, statistics, problem: null, unit };
}
