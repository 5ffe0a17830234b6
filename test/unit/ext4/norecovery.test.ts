import { afterAll, expect, test } from 'vitest';
import { MemoryBlockDevice } from '../../../service/ext4/block-device.ts';
import { ImageDirectory } from '../../support/ext4-image.ts';
import { bytesOf, openWritable, WritableImage } from '../../support/writable-image.ts';

const images = new ImageDirectory();
afterAll(() => images.remove());

test('with norecovery a file system whose journal needs recovery is not opened for writing, nor written', () => {
  const crashed = new WritableImage(images.make(16 * 2 ** 20, ['-t', 'ext4']));
  const fs = crashed.begin();
  fs.createNode(crashed.root, bytesOf('f'), 0, 1, 0o100644, 0, 0, 0);
  expect(fs.commitNow()).toBe(0);
  const bytes = crashed.bytes.slice();

  const open = (noRecovery: boolean) => openWritable(new MemoryBlockDevice(bytes), { noRecovery });
  expect(() => open(true)).toThrow('the journal needs recovery, which norecovery forbids');
  expect(Buffer.compare(bytes, crashed.bytes)).toBe(0);
  const recovered = open(false);
  expect(recovered.lookup(recovered.inode(2), bytesOf('f'), 0, 1)).not.toBe(0);
});
