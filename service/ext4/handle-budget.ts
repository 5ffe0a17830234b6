import { atomically } from './journal/atomically.ts';
import type { WriteContext } from './write-context.ts';

/**
 * Blocks that one handle may change before work that can be divided goes on in the next. The step that goes beyond
 * and what ends the handle take some more.
 */
const BUDGET_BLOCKS = 48;
/** Most blocks that one step gives back when each of them counts as changed, as those of directories do. */
const METADATA_STEP_BLOCKS = 32;

/** How many blocks one step may give back. */
export const stepBlocks = (isMetadata: boolean): number =>
  isMetadata ? METADATA_STEP_BLOCKS : Number.POSITIVE_INFINITY;

/** True when the rest of a long change belongs into another handle. */
export const handleIsFull = (ctx: WriteContext): boolean => ctx.handle.changedBlocks >= BUDGET_BLOCKS;

/** Takes steps of a long change, each in a handle of its own, until one returns true. The cache may shrink between. */
export function inHandles(ctx: WriteContext, step: () => boolean): void {
  while (!atomically(ctx.handle, step)) ctx.cache.beginOperation();
}
