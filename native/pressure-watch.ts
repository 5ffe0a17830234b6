import { writeSync } from 'node:fs';
import { addon, type RawPriorityWatch } from './addon.ts';

export type PressureWatch = RawPriorityWatch;

/**
 * Sets `trigger` on an open file of the kernel's pressure stall information, such as /proc/pressure/memory, and calls
 * back each time it fires, or once with the errno of what went wrong. `fd` stays the caller's; the trigger lasts
 * until it is closed. The format is that of Documentation/accounting/psi.rst.
 */
export function watchPressure(fd: number, trigger: string, onPressure: (errno: number) => void): PressureWatch {
  writeSync(fd, `${trigger}\0`);
  return new addon.PriorityWatch(fd, onPressure);
}
