import { PROTOCOL_VERSION } from '../shared/service-protocol/packets.ts';
import { VERSION } from '../shared/version.ts';

const RELEASE_DATE = '2026-11-20';

/** The two lines of `fuse4fs --version`. */
export function programVersion(): string {
  const parts = `built-in FUSE server, service protocol ${PROTOCOL_VERSION}, Node.js ${process.versions.node}`;
  return `fuse4fs ${VERSION} (${RELEASE_DATE})\n${parts}`;
}
