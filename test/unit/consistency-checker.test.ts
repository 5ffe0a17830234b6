import { afterAll, describe, expect, test } from 'vitest';
import { MemoryBlockDevice } from '../../service/ext4/block-device.ts';
import { consistencyFindings } from '../support/consistency-checker.ts';
import { ImageDirectory, imageBytes } from '../support/ext4-image.ts';

const images = new ImageDirectory();
afterAll(() => images.remove());

const CONTENT: readonly string[] = [
  'mkdir a',
  'mkdir a/b',
  'write /etc/passwd a/b/file',
  'symlink a/link /somewhere/else/that/is/longer/than/sixty/bytes/and/needs/a/block/of/its/own',
  'ln a/b/file a/hardlink',
  'sif a/b/file links_count 2',
  'ea_set a/b/file user.x value',
];

const KINDS: readonly [string, readonly string[]][] = [
  ['ext4', ['-t', 'ext4', '-b', '4096']],
  ['ext4 of 1 KiB blocks', ['-t', 'ext4', '-b', '1024']],
  ['ext3', ['-t', 'ext3', '-b', '1024']],
  ['ext2 of 128-byte inodes', ['-t', 'ext2', '-I', '128', '-b', '2048']],
  ['ext4 with an orphan file', ['-t', 'ext4', '-O', 'orphan_file']],
];

describe('the consistency checker', () => {
  test.each(KINDS)('finds nothing in a sound file system: %s', (_name, options) => {
    const path = images.make(32 * 2 ** 20, options, CONTENT);
    expect(consistencyFindings(new MemoryBlockDevice(imageBytes(path)))).toEqual([]);
  });

  test.each([
    ['a wrong link count', 'sif a/b/file links_count 7', 'links instead of'],
    ['a used block marked free', 'freeb 9', 'its bitmap says otherwise'],
    ['a free block marked used', 'setb 5000', 'its bitmap says otherwise'],
    ['an inode marked free', 'freei a/b/file', 'not in use'],
    ['a wrong count of free blocks', 'ssv free_blocks_count 5', 'superblock: 5 free blocks'],
    ['a size below the written extents', 'sif a/b/file size 0', 'behind the end'],
    ['a wrong count of blocks', 'sif a/b/file blocks 2', 'i_blocks is'],
    ['a wrong ".."', 'sif a links_count 9', 'links instead of'],
  ])('finds %s', (_name, command, finding) => {
    const path = images.make(32 * 2 ** 20, ['-t', 'ext4', '-b', '4096'], [...CONTENT, command]);
    expect(consistencyFindings(new MemoryBlockDevice(imageBytes(path))).join('\n')).toContain(finding);
  });
});
