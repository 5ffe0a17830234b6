import type { MountStatistics } from '../shared/mount-statistics.ts';

/** What can be asked of a mount. */
export type Verb = 'statistics' | 'sync' | 'trim' | 'shutdown';

/** One line of JSON on its way to the process that asks. */
export interface MountRequest {
  readonly verb: Verb;
  readonly mountPoint: string;
  /** st_dev: a mount may be hidden by another one. */
  readonly deviceNumber: number;
  /** For trim: free ranges below this are left alone. */
  readonly leastBytes: number;
}

/** One line of JSON on its way back. */
export type MountAnswer =
  | { readonly ok: true; readonly statistics: MountStatistics | null; readonly trimmedBytes: number }
  | { readonly ok: false; readonly errno: number; readonly reason: string };
