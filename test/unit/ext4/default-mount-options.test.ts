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

/** Whether one more commit waits until its commit block is on stable storage. */
function commitIsDurable(path: string, barrier: boolean | null): boolean {
  const device = new RecordingDevice(imageBytes(path), true);
  const fs = openWritable(device, { barrier });
  fs.beginRequest(0, 0);
  fs.createNode(fs.inode(2), bytesOf('f'), 0, 1, 0o100644, 0, 0, 0);
  fs.commitNow();
  const before = device.events.length;
  fs.createNode(fs.inode(2), bytesOf('g'), 0, 1, 0o100644, 0, 0, 0);
  fs.commitNow();
  return device.events.slice(before).some((event) => event.kind === 'write' && event.durable);
}

describe('default mount options in the superblock', () => {
  test('bsdgroups gives new files the group of their directory, unless the mount says otherwise', () => {
    const path = image('ssv default_mount_opts 0x2');
    expect(groupOfNewFile(path, null)).toBe(0);
    expect(groupOfNewFile(path, false)).toBe(1001);
    expect(groupOfNewFile(image(), null)).toBe(1001);
  });

  test('nobarrier trusts the cache of the device, unless the mount says otherwise', () => {
    const path = image('ssv default_mount_opts 0x100');
    expect(commitIsDurable(path, null)).toBe(false);
    expect(commitIsDurable(path, true)).toBe(true);
    expect(commitIsDurable(image(), null)).toBe(true);
  });
});
