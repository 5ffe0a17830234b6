import { getSystemErrorMap } from 'node:util';
import { errnoName } from './errno.ts';

/** "no such file or directory": for people. */
export function errnoText(errno: number): string {
  return getSystemErrorMap().get(-errno)?.[1] ?? errnoName(errno);
}
