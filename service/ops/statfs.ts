import { Errno } from '../../shared/errno.ts';
import type { Reply } from '../fuse/reply.ts';
import { type Engine, StatfsNumbers } from './engine.ts';
import { NAME_BYTES_MAX } from './lookup.ts';

const numbers = new StatfsNumbers();

export function statfs(engine: Engine, minixDf: boolean, reply: Reply): number {
  engine.statfs(numbers, minixDf);
  reply.statfs(numbers, engine.blockSize, NAME_BYTES_MAX);
  return Errno.OK;
}
