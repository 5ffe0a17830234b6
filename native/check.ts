import { SystemError } from '../shared/errno.ts';

/** Passes a system call's result on, or throws SystemError when it is a negative errno. */
export function check(result: number, syscall: string, target: string): number {
  if (result < 0) throw new SystemError(-result, syscall, target);
  return result;
}
