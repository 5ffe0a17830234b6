import { Errno } from '../../shared/errno.ts';
import { StatFs } from '../ext4/statfs.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Engine } from './engine.ts';

const numbers = new StatFs();

/** STATFS. `minixDf` counts the file system's own structures as space. */
export function statfs(engine: Engine, minixDf: boolean, reply: Reply): number {
  engine.statfs(numbers, minixDf);
  reply.statfs(numbers);
  return Errno.OK;
}
