import { setFlagsFromString } from 'node:v8';
import { shareArena } from '../native/heap.ts';

/**
 * What the service's Node is started with; systemd/fuse4fs@.service has the same words. The young generation has three
 * semi-spaces, which would grow to 16 MiB each although requests allocate next to nothing.
 */
export const NODE_WORDS: readonly string[] = ['--max-semi-space-size=2'];

/**
 * Bytes of bytecode that V8 inlines into one function when it optimises it, 920 by default. Optimising costs more
 * processor time than the first thousands of requests do; with this, a fifth less, and the result is as fast.
 */
const INLINED_BYTECODE_BYTES = 200;

/** To be called once, early. */
export function tuneProcess(): void {
  setFlagsFromString(`--max-inlined-bytecode-size-cumulative=${INLINED_BYTECODE_BYTES}`);
  shareArena();
}
