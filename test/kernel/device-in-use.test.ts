import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { mountFuse4fs, tryMountFuse4fs } from '../support/fuse4fs-mount.ts';
import { kernelMount, makeImage } from '../support/kernel-image.ts';
import { loopDevicesBelow, run, TestRoom } from '../support/test-room.ts';

/** A device or image that somebody else has: the refusal says who. */
const room = new TestRoom('device-in-use');
afterEach(() => room.reset());
afterAll(() => room.clear());

const EMPTY = { sizeBytes: 32 * 2 ** 20, mkfs: ['-t', 'ext4'] };
const MOUNT_FAILURE = 32;
const USER_LINE = /^fuse4fs: (.*) is in use: (.*)$/m;

/** What the refusal of a mount for writing says: what is in use, and by whom. The service waits for it first. */
async function usersOf(image: string): Promise<string> {
  const refused = await tryMountFuse4fs(room, image, 'rw');
  expect((await refused.process.ended).code).toBe(MOUNT_FAILURE);
  expect(refused.process.output).toContain('could not lock filesystem');
  const [, what, users] = USER_LINE.exec(refused.process.output) ?? [];
  expect(what).toBe(image);
  return users;
}

describe('what is in use', () => {
  test('by another server is named with its mount point and process', async () => {
    const image = makeImage(room, 'image', EMPTY);
    const mount = await mountFuse4fs(room, image, 'rw');
    const users = await usersOf(image);
    expect(users).toContain(`mounted on ${mount.mountPoint}`);
    expect(mount.process.pids().some((pid) => users.includes(`open in process ${pid} (-ext4 `))).toBe(true);
    await mount.unmount();
  });

  test('by the kernel is named with its mount point, and an image behind it with the loop device', async () => {
    const image = makeImage(room, 'image', EMPTY);
    const mountPoint = kernelMount(room, image, 'rw');
    const [loop] = loopDevicesBelow(room.directory);
    const [ofDevice, ofImage] = await Promise.all([usersOf(loop), usersOf(image)]);
    expect(ofDevice).toContain(`mounted on ${mountPoint}`);
    expect(ofImage).toContain(`attached to ${loop}`);
    run('umount', [mountPoint]);
  });
});
