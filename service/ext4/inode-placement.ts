import { CorruptionError } from './errors.ts';
import type { FreeSpace } from './free-counts.ts';
import type { Geometry } from './geometry.ts';
import type { GroupDescriptors } from './group-descriptors.ts';
import type { Inode } from './inode.ts';
import { InodeFlag, SpecialInode } from './layout/inode.ts';

/** Larger flexible groups are looked at in pieces of this many groups. */
const MAX_CLUSTER_GROUPS = 64;
/** Neighbourhoods compared for a directory at the top level; the kernel compares all. */
const TOP_LEVEL_CANDIDATES = 16;
/** Neighbourhoods looked at for another directory before any group with free inodes will do. */
const NEAR_CANDIDATES = 256;
/** Uses of what was summed up before it is summed up again: others take blocks meanwhile. */
const SUMMARY_USES = 64;
const MAX_SUMMARIES = 4096;

/** What the groups of one neighbourhood have together. */
class Summary {
  freeInodes = 0;
  freeClusters = 0;
  usedDirectories = 0;
  /** No group of the neighbourhood before this one has free inodes. */
  firstRoomy = 0;
  usesLeft = SUMMARY_USES;
}

/**
 * Chooses groups for new inodes, with the kernel's aims: files near their directory; directories near their
 * parent, unless that neighbourhood is crowded; those at the top level spread over the whole device (Orlov's rules).
 *
 * A neighbourhood is a flexible group, whose bitmaps and inode tables are packed together, or one group without
 * flex_bg. What is summed up of it is kept for a while and is advice only: whoever uses a group looks for himself.
 */
export class InodePlacement {
  readonly #geometry: Geometry;
  readonly #descriptors: GroupDescriptors;
  readonly #totals: FreeSpace;
  readonly #random: () => number;
  /** Groups per neighbourhood. */
  readonly #span: number;
  readonly #spans: number;
  readonly #summaries = new Map<number, Summary>();
  #lastResort = 0;

  /** `random` returns numbers in [0, 1). */
  constructor(geometry: Geometry, descriptors: GroupDescriptors, totals: FreeSpace, random: () => number) {
    this.#geometry = geometry;
    this.#descriptors = descriptors;
    this.#totals = totals;
    this.#random = random;
    this.#span = Math.min(geometry.groupsPerFlex, MAX_CLUSTER_GROUPS);
    this.#spans = Math.ceil(geometry.groupCount / this.#span);
  }

  /** A group with a free inode for a child of `parent`, as far as the descriptors tell; -1 when there is none. */
  choose(parent: Inode, isDirectory: boolean): number {
    if (!isDirectory) return this.#forFile(parent);
    const isTop = parent.ino === SpecialInode.ROOT || parent.hasFlag(InodeFlag.TOPDIR);
    const span = isTop ? this.#spanAtTop() : this.#spanNear(parent);
    const group = span < 0 ? -1 : this.#roomyGroupOf(span);
    return group < 0 ? this.#anyGroup(this.#groupOf(parent)) : group;
  }

  /** Keeps the sums right: `count` inodes were taken, or given back when negative; all are directories, or none is. */
  noteTaken(group: number, count: number, isDirectory: boolean): void {
    const summary = this.#summaries.get(Math.floor(group / this.#span));
    if (summary === undefined) return;
    summary.freeInodes -= count;
    if (isDirectory) summary.usedDirectories += count;
    if (count < 0) summary.firstRoomy = Math.min(summary.firstRoomy, group);
  }

  /** What was noted may be wrong. */
  forget(): void {
    this.#summaries.clear();
  }

  #groupOf(inode: Inode): number {
    return Math.floor((inode.ino - 1) / this.#geometry.inodesPerGroup);
  }

  #forFile(parent: Inode): number {
    return this.#span > 1 ? this.#forFileInSpan(parent) : this.#forFileInGroup(parent);
  }

  #forFileInSpan(parent: Inode): number {
    const near = this.#roomyGroupOf(Math.floor(this.#groupOf(parent) / this.#span));
    if (near >= 0) return near;
    if (parent.overflowGroup >= 0) {
      const overflow = this.#roomyGroupOf(Math.floor(parent.overflowGroup / this.#span));
      if (overflow >= 0) return overflow;
    }
    const span = this.#spanNear(parent);
    const elsewhere = span < 0 ? -1 : this.#roomyGroupOf(span);
    const group = elsewhere < 0 ? this.#anyGroup(this.#groupOf(parent)) : elsewhere;
    parent.overflowGroup = group;
    return group;
  }

  /**
   * The parent's group, else groups at growing distances from a place that depends on the parent: so that files of
   * one directory stay together, and those of its neighbours go elsewhere.
   */
  #forFileInGroup(parent: Inode): number {
    const { groupCount } = this.#geometry;
    const home = this.#groupOf(parent);
    if (this.#hasInodesAndClusters(home)) return home;
    let group = (home + parent.ino) % groupCount;
    for (let step = 1; step < groupCount; step *= 2) {
      group = (group + step) % groupCount;
      if (this.#hasInodesAndClusters(group)) return group;
    }
    return this.#anyGroup(home);
  }

  #hasInodesAndClusters(group: number): boolean {
    return this.#freeInodes(group) > 0 && this.#descriptors.freeClusters(group) > 0;
  }

  /** From a random place on the emptiest of some neighbourhoods that have at least the average of everything free. */
  #spanAtTop(): number {
    const averageInodes = Math.floor(this.#totals.inodes / this.#spans);
    const averageClusters = Math.floor(this.#totals.clusters / this.#spans);
    const start = Math.floor(this.#random() * this.#spans);
    let best = -1;
    let fewest = this.#geometry.inodesPerGroup;
    for (let step = 0; step < Math.min(this.#spans, TOP_LEVEL_CANDIDATES); step++) {
      const span = (start + step) % this.#spans;
      const summary = this.#summaryOf(span);
      if (summary.freeInodes < Math.max(1, averageInodes) || summary.freeClusters < averageClusters) continue;
      if (summary.usedDirectories >= fewest) continue;
      best = span;
      fewest = summary.usedDirectories;
      if (fewest === 0) break;
    }
    return best;
  }

  /** The first neighbourhood from the parent's on that has not too many directories and not too little room. */
  #spanNear(parent: Inode): number {
    const { inodesPerGroup, superblock } = this.#geometry;
    const inodesPerSpan = inodesPerGroup * this.#span;
    const clustersPerSpan = superblock.clustersPerGroup * this.#span;
    const minInodes = Math.max(1, Math.floor(this.#totals.inodes / this.#spans) - Math.floor(inodesPerSpan / 4));
    const minClusters = Math.floor(this.#totals.clusters / this.#spans) - Math.floor(clustersPerSpan / 4);
    const maxDirectories = this.#averageDirectories() + inodesPerSpan / 16;
    const home = parent.overflowGroup < 0 ? this.#groupOf(parent) : parent.overflowGroup;
    const start = Math.floor(home / this.#span);
    for (let step = 0; step < Math.min(this.#spans, NEAR_CANDIDATES); step++) {
      const span = (start + step) % this.#spans;
      const summary = this.#summaryOf(span);
      if (summary.usedDirectories >= maxDirectories || summary.freeInodes < minInodes) continue;
      if (summary.freeClusters >= minClusters) return span;
    }
    return -1;
  }

  /** Of the neighbourhoods looked at lately: all of them on a small file system, a sample on a large one. */
  #averageDirectories(): number {
    if (this.#summaries.size === 0) return 0;
    let directories = 0;
    let counted = 0;
    for (const summary of this.#summaries.values()) {
      directories += summary.usedDirectories;
      if (++counted === TOP_LEVEL_CANDIDATES) break;
    }
    return directories / counted;
  }

  #roomyGroupOf(span: number): number {
    const summary = this.#summaryOf(span);
    const end = Math.min((span + 1) * this.#span, this.#geometry.groupCount);
    for (let group = summary.firstRoomy; group < end; group++) {
      if (this.#freeInodes(group) === 0) continue;
      summary.firstRoomy = group;
      return group;
    }
    summary.firstRoomy = end;
    return -1;
  }

  /**
   * Any group with at least the average of free inodes, or else with any. Looks on where it found the last one when
   * there is little left, so that filling the file system up doesn't go over all groups again and again.
   */
  #anyGroup(home: number): number {
    const { groupCount } = this.#geometry;
    if (this.#totals.inodes <= 0) return -1;
    const average = Math.floor(this.#totals.inodes / groupCount);
    const start = average > 0 ? home : this.#lastResort;
    const found = this.#groupWith(start, Math.max(1, average));
    const group = found < 0 && average > 1 ? this.#groupWith(start, 1) : found;
    if (group >= 0) this.#lastResort = group;
    return group;
  }

  #groupWith(start: number, minInodes: number): number {
    const { groupCount } = this.#geometry;
    for (let step = 0; step < groupCount; step++) {
      const group = (start + step) % groupCount;
      if (this.#freeInodes(group) >= minInodes) return group;
    }
    return -1;
  }

  #summaryOf(span: number): Summary {
    let summary = this.#summaries.get(span);
    if (summary === undefined) {
      if (this.#summaries.size >= MAX_SUMMARIES) this.#summaries.clear();
      summary = new Summary();
      this.#summaries.set(span, summary);
      this.#sumUp(span, summary);
    } else if (--summary.usesLeft === 0) {
      this.#sumUp(span, summary);
    }
    return summary;
  }

  #sumUp(span: number, summary: Summary): void {
    const first = span * this.#span;
    const end = Math.min(first + this.#span, this.#geometry.groupCount);
    const descriptors = this.#descriptors;
    summary.freeInodes = 0;
    summary.freeClusters = 0;
    summary.usedDirectories = 0;
    summary.firstRoomy = first;
    summary.usesLeft = SUMMARY_USES;
    for (let group = first; group < end; group++) {
      try {
        summary.freeInodes += descriptors.freeInodes(group);
        summary.freeClusters += descriptors.freeClusters(group);
        summary.usedDirectories += descriptors.usedDirectories(group);
      } catch (error) {
        // A lost descriptor takes its group out of use, not the file system.
        if (!(error instanceof CorruptionError)) throw error;
      }
    }
  }

  #freeInodes(group: number): number {
    try {
      return this.#descriptors.freeInodes(group);
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      return 0;
    }
  }
}
