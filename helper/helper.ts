import { CallerWords } from './caller-words.ts';
import type { FuseConf } from './fuse-conf.ts';
import type { Mounter } from './mounter.ts';
import type { Report } from './report.ts';
import { DEFAULT_TIMEOUTS, Session, type Timeouts } from './session.ts';

export interface HelperSetup {
  /** SEQPACKET socket connected to the service; stays the caller's. */
  readonly socket: number;
  readonly subtype: string;
  /** Arguments for the service: source, mount point, `-o`, list. */
  readonly words: readonly string[];
  readonly mounter: Mounter;
  readonly fuseConf: FuseConf;
  readonly report: Report;
  /** Where the service's own messages go, added to a report of failure; '' when they are in plain sight. */
  readonly logHint: string;
  /** The user sees the service's own explanations: that it gave up needs no other report. */
  readonly serviceIsHeard?: boolean;
  readonly timeouts?: Timeouts;
  /** Everything but the mount. */
  readonly fake?: boolean;
  readonly updateMtab?: boolean;
}

/** Plays the helper for one mount attempt. 0 when the service has taken over its mount, else 1; blocks until then. */
export function runHelper(setup: HelperSetup): number {
  const session = new Session({
    timeouts: DEFAULT_TIMEOUTS,
    fake: false,
    serviceIsHeard: false,
    updateMtab: true,
    ...setup,
    words: new CallerWords(setup.words),
  });
  if (session.run()) return 0;
  if (setup.logHint !== '') setup.report.error(setup.logHint);
  return 1;
}
