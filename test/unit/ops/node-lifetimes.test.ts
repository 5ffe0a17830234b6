import { describe, expect, it } from 'vitest';
import { Inode } from '../../../service/ext4/inode.ts';
import { NodeLifetimes } from '../../../service/ops/node-lifetimes.ts';

function inodeWithLinks(ino: number, linksCount: number): Inode {
  const inode = new Inode(ino);
  inode.linksCount = linksCount;
  return inode;
}

describe('the lifetime of a node', () => {
  it('ends when the last name is gone and the kernel has forgotten all that it was told', () => {
    const lifetimes = new NodeLifetimes();
    lifetimes.add(12);
    lifetimes.add(12);
    lifetimes.unnamed(inodeWithLinks(12, 0));
    lifetimes.forget(12, 1);
    expect(lifetimes.hasEnded).toBe(false);
    lifetimes.forget(12, 1);
    expect(lifetimes.takeEnded()).toBe(12);
    expect(lifetimes.hasEnded).toBe(false);
    expect(lifetimes.takeEnded()).toBe(0);
  });

  it('ends at once for what the kernel never knew', () => {
    const lifetimes = new NodeLifetimes();
    lifetimes.unnamed(inodeWithLinks(13, 0));
    expect(lifetimes.takeEnded()).toBe(13);
  });

  it('goes on while there are other names, and after a forgotten file got its name', () => {
    const lifetimes = new NodeLifetimes();
    lifetimes.add(12);
    lifetimes.unnamed(inodeWithLinks(12, 1));
    lifetimes.add(14);
    lifetimes.unnamed(inodeWithLinks(14, 0));
    lifetimes.named(inodeWithLinks(14, 1));
    lifetimes.forget(12, 1);
    lifetimes.forget(14, 1);
    expect(lifetimes.hasEnded).toBe(false);
  });

  it('of all that has no name ends with the mount', () => {
    const lifetimes = new NodeLifetimes();
    for (const ino of [20, 21, 22]) lifetimes.add(ino);
    lifetimes.unnamed(inodeWithLinks(20, 0));
    lifetimes.unnamed(inodeWithLinks(22, 0));
    lifetimes.endAll();
    expect([lifetimes.takeEnded(), lifetimes.takeEnded(), lifetimes.takeEnded()].sort()).toEqual([0, 20, 22]);
  });
});
