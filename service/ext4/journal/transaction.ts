import type { CachedBlock } from '../buffer-cache.ts';

/** Changes that reach the device together or not at all. */
export class Transaction {
  /** Counts from 1 since the mount; also the value of `CachedBlock.transaction`. The log numbers differently. */
  readonly sequence: number;
  /** Blocks changed, each once, in the order of their first change; forgotten ones too. */
  readonly blocks: CachedBlock[] = [];
  /** Metadata blocks freed: copies of them in this and older transactions must not be replayed. */
  readonly revoked: number[] = [];

  constructor(sequence: number) {
    this.sequence = sequence;
  }

  get isEmpty(): boolean {
    return this.blocks.length === 0 && this.revoked.length === 0;
  }
}
