import type { WriteContext } from './write-context.ts';

/** Blocks that one handle may change before work that can be divided goes on in the next. */
const BUDGET_BLOCKS = 64;

/** True when the rest of a long change belongs into another handle. */
export const handleIsFull = (ctx: WriteContext): boolean => ctx.handle.changedBlocks >= BUDGET_BLOCKS;
