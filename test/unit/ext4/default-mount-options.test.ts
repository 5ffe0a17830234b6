import { afterAll, describe, expect, test } from 'vitest';
import { ImageDirectory, imageBytes } from '../../support/ext4-image.ts';
import { RecordingDevice } from '../../support/recording-device.ts';
import { bytesOf, openWritable, WritableImage } from '../../support/writable-image.ts';

const images = new ImageDirectory();
afterAll(() => images.remove());

const image = (...debugfs: readonly string[]): string => images.make(16 * 2 ** 20, ['-t', 'ext4'], debugfs);

/** Group of a new file that user 1000, group 1001, makes in a directory of group 0. */
function groupOfNewFile(path: string, groupOfParent: boolean | null): number {
  const opened = new WritableImage(path, { groupOfParent });
  opened.begin(1000, 1001);
  return opened.fs.createNode(opened.root, bytesOf('f'), 0, 1, 0o100644, 0, 0, 0).gid;
}

/** Number of flushes that one commit takes. */
function flushesOfCommit(path: string, barrier: boolean | null): number {
  const device = new RecordingDevice(imageBytes(path), true);
  const fs = openWritable(device, { barrier });
  fs.beginRequest(0, 0);
  fs.createNode(fs.inode(2), bytesOf('f'), 0, 1, 0o100644, 0, 0, 0);
  fs.commitNow();
  const before = device.events.length;
  fs.createNode(fs.inode(2), bytesOf('g'), 0, 1, 0o100644, 0, 0, 0);
  fs.commitNow();
  return device.events.slice(before).filter(({ kind }) => kind === 'flush').length;
}

describe('default mount options in the superblock', () => {
  test('bsdgroups gives new files the group of their directory, unless the mount says otherwise', () => {
    const path = image('ssv default_mount_opts 0x2');
    expect(groupOfNewFile(path, null)).toBe(0);
    expect(groupOfNewFile(path, false)).toBe(1001);
    expect(groupOfNewFile(image(), null)).toBe(1001);
  });

  test('nobarrier leaves the flushes out, unless the mount says otherwise', () => {
    const path = image('ssv default_mount_opts 0x100');
    expect(flushesOfCommit(path, null)).toBe(0);
    expect(flushesOfCommit(path, true)).toBeGreaterThan(0);
    expect(flushesOfCommit(image(), null)).toBeGreaterThan(0);
  });
});
