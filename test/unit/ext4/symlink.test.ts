import { describe, expect, it } from 'vitest';
import type { Inode } from '../../../service/ext4/inode.ts';
import { Incompat } from '../../../service/ext4/layout/features.ts';
import { FileType, INODE } from '../../../service/ext4/layout/inode.ts';
import { readSymlink } from '../../../service/ext4/symlink.ts';
import { FakeExt4Context } from '../../support/fake-ext4-context.ts';

const INO = 60;
const BLOCK_512 = 2;
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A link with `target` both in i_block and, as far as `inBlock` says, in a block. */
function link(target: string, inBlock: string, incompat: number): { context: FakeExt4Context; inode: Inode } {
  const context = new FakeExt4Context({ incompat });
  const inode = context.addInode(INO, FileType.SYMLINK | 0o777);
  context.writeBlock(inode.tableBlock, bytesOf(target), inode.tableOffset + INODE.i_block);
  if (inBlock !== '') context.setFileBlock(inode, 0, bytesOf(inBlock));
  inode.sizeBytes = inBlock === '' ? target.length : inBlock.length;
  return { context, inode };
}

const readText = ({ context, inode }: { context: FakeExt4Context; inode: Inode }): string =>
  new TextDecoder().decode(readSymlink(context, inode));

describe('the target of a symbolic link', () => {
  const plain = Incompat.FILETYPE | Incompat.EXTENTS;
  const withValueInodes = plain | Incompat.EA_INODE;

  it('is in i_block when the inode owns no block but that of its attributes', () => {
    const fast = link('t'.repeat(59), '', plain);
    expect(readText(fast)).toBe('t'.repeat(59));
    fast.inode.xattrBlock = 9;
    fast.inode.allocatedBlocks512 = BLOCK_512;
    expect(readText(fast)).toBe('t'.repeat(59));
  });

  it('is in a block when the inode owns one, short as it may be', () => {
    const slow = link('', 'short', plain);
    slow.inode.allocatedBlocks512 = BLOCK_512;
    expect(readText(slow)).toBe('short');
  });

  it('is found by its size alone when attribute inodes may be charged to the link', () => {
    const fast = link('short', '', withValueInodes);
    fast.inode.allocatedBlocks512 = 6 * BLOCK_512;
    expect(readText(fast)).toBe('short');
    const slow = link('', 's'.repeat(60), withValueInodes);
    slow.inode.allocatedBlocks512 = 7 * BLOCK_512;
    expect(readText(slow)).toBe('s'.repeat(60));
  });

  it('is corrupt when it fits neither place', () => {
    const long = link('t'.repeat(60), '', plain);
    expect(() => readText(long)).toThrow(/60 bytes of target in an inode without blocks/);
    const missing = link('', 's'.repeat(60), withValueInodes);
    missing.context.punchHole(missing.inode, 0);
    expect(() => readText(missing)).toThrow(/block of the target is missing/);
    const empty = link('', '', withValueInodes);
    expect(() => readText(empty)).toThrow(/target is empty/);
  });
});
