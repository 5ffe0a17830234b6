import { closeSlot, isUnwritten, lenOf, maxExtentLen } from './extent-node.ts';
import type { ExtentPath } from './extent-path.ts';
import { putExtentRawLen } from './layout/extent.ts';

/** True when the extent of the entry `index` ends where a run begins in file and device, and both are alike. */
export function endsAt(path: ExtentPath, index: number, lblk: number, pblk: number, unwritten: boolean): boolean {
  if (index < 0 || index >= path.entries(path.depth)) return false;
  const rawLen = path.rawLen(index);
  if (isUnwritten(rawLen) !== unwritten) return false;
  const len = lenOf(rawLen);
  return path.lblk(index) + len === lblk && path.pblk(index) + len === pblk;
}

/** True when the extent of the entry `index` begins where a run ends in file and device, and both are alike. */
export function beginsAt(path: ExtentPath, index: number, lblk: number, pblk: number, unwritten: boolean): boolean {
  if (index < 0 || index >= path.entries(path.depth)) return false;
  return path.lblk(index) === lblk && path.pblk(index) === pblk && isUnwritten(path.rawLen(index)) === unwritten;
}

/** Makes one of the leaf's entries `index` and `index + 1` where that is possible. The leaf is being changed. */
export function mergeWithNext(path: ExtentPath, index: number): boolean {
  if (index < 0 || index + 1 >= path.entries(path.depth)) return false;
  const rawLen = path.rawLen(index);
  const unwritten = isUnwritten(rawLen);
  const len = lenOf(rawLen);
  if (!beginsAt(path, index + 1, path.lblk(index) + len, path.pblk(index) + len, unwritten)) return false;
  const nextLen = lenOf(path.rawLen(index + 1));
  if (len + nextLen > maxExtentLen(unwritten)) return false;
  const leaf = path.node(path.depth);
  putExtentRawLen(leaf.view, path.slot(path.depth, index), rawLen + nextLen);
  closeSlot(leaf, path.at(path.depth), index + 1);
  return true;
}
