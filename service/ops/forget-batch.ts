import { u64ne } from '../../shared/bytes.ts';
import { BATCH_FORGET_IN, FORGET_ONE } from '../fuse/abi.ts';
import type { Request } from '../fuse/request.ts';
import type { NodeLifetimes } from './node-lifetimes.ts';

/** BATCH_FORGET: as many as it says, and no more than it holds. */
export function forgetBatch(lifetimes: NodeLifetimes, request: Request): void {
  const { view, bodyEnd } = request;
  let at = request.bodyStart + BATCH_FORGET_IN.SIZE;
  const end = Math.min(bodyEnd, at + request.u32(BATCH_FORGET_IN.count) * FORGET_ONE.SIZE);
  for (; at + FORGET_ONE.SIZE <= end; at += FORGET_ONE.SIZE) {
    lifetimes.forget(u64ne(view, at + FORGET_ONE.nodeid), u64ne(view, at + FORGET_ONE.nlookup));
  }
}
