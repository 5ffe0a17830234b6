import { writeFileSync } from 'node:fs';
import { Errno, SystemError } from '../shared/errno.ts';
import { mountOf, readMountTable } from './mount-info.ts';
import { failureText, type Report } from './report.ts';

/** KiB. Cold streaming reads of a virtual disk: 128, the kernel's own, 470 MiB/s; 1024, 750; this, 830; 4096, 760. */
const READ_AHEAD_KIB = 2048;

/**
 * Lets the kernel read further ahead on this mount; only root may. The service must answer INIT with at
 * least as large a max_readahead, because the kernel takes the smaller of the two.
 */
export function raiseReadAhead(mountFd: number, report: Report): void {
  try {
    writeFileSync(`/sys/class/bdi/${deviceNumberOf(mountFd)}/read_ahead_kb`, String(READ_AHEAD_KIB));
  } catch (error) {
    report.detail(failureText(error, 'read-ahead not raised'));
  }
}

/** From the mount table: a stat would wait for a service that does not answer yet. */
function deviceNumberOf(mountFd: number): string {
  const mount = mountOf(mountFd, readMountTable());
  if (mount === null) throw new SystemError(Errno.ENOENT, 'mount table', `fd ${mountFd}`);
  return mount.device;
}
