import { afterAll, describe, expect, test } from 'vitest';
import { ErrorBehaviour } from '../../../service/ext4/error-handling.ts';
import { CorruptionError, DeviceError } from '../../../service/ext4/errors.ts';
import { FallocateMode } from '../../../service/ext4/fallocate.ts';
import { Errno } from '../../../shared/errno.ts';
import { dumpe2fs } from '../../support/e2fsprogs.ts';
import { ImageDirectory, openBytes } from '../../support/ext4-image.ts';
import { bytesOf, WritableImage } from '../../support/writable-image.ts';

const images = new ImageDirectory();
afterAll(() => images.remove());

const damage = new CorruptionError('extent tree', 'bad magic', { inode: 12, block: 345 });

function open(errorBehaviour: number, panic: () => void = () => {}): WritableImage {
  const image = new WritableImage(images.make(16 * 2 ** 20, ['-t', 'ext4']), {
    errorBehaviour,
    panic,
    onAbort: () => {},
  });
  image.begin();
  image.fs.createNode(image.root, bytesOf('before'), 0, 6, 0o100644, 0, 0, 0);
  return image;
}

function saved(image: WritableImage): string {
  const path = images.file('saved');
  image.save(path);
  return path;
}

const fields = (image: WritableImage): ReadonlyMap<string, string> => dumpe2fs(saved(image));

test('after an abort fallocate zeroes nothing, not even what is only part of a block', () => {
  const image = open(ErrorBehaviour.CONTINUE);
  const inode = image.fs.createNode(image.root, bytesOf('file'), 0, 4, 0o100644, 0, 0, 0);
  const content = new Uint8Array(20_000).fill(7);
  image.fs.writeSmall(inode, 0, content);
  image.fs.commitNow();
  image.fs.abort(Errno.EIO, 'a test');
  for (const mode of [FallocateMode.PUNCH_HOLE | FallocateMode.KEEP_SIZE, FallocateMode.ZERO_RANGE]) {
    expect(() => image.begin().fallocate(inode, mode, 100, 10_000)).toThrow(
      expect.objectContaining({ errno: Errno.EROFS }),
    );
  }
  const found = new Uint8Array(20_000);
  image.fs.readFile(inode, 0, found);
  expect(found).toEqual(content);
});

describe('broken metadata', () => {
  test('is recorded in the superblock, where dumpe2fs sees it', () => {
    const image = open(ErrorBehaviour.CONTINUE);
    image.fs.noteError(damage);
    image.begin();
    image.close();
    const found = fields(image);
    expect(found.get('Filesystem state')).toBe('clean with errors');
    expect(found.get('FS Error count')).toBe('1');
    expect(found.get('First error function')).toBe('extent tree');
    expect(found.get('First error inode #')).toBe('12');
    expect(found.get('Last error block #')).toBe('345');
    expect(found.get('Last error err')).toBe('EFSCORRUPTED');
  });

  test('lets writing go on under errors=continue', () => {
    const image = open(ErrorBehaviour.CONTINUE);
    image.fs.noteError(damage);
    image.begin();
    image.fs.createNode(image.root, bytesOf('after'), 0, 5, 0o100644, 0, 0, 0);
    expect(image.fs.isReadOnly).toBe(false);
    image.close();
  });

  test('ends writing under errors=remount-ro, and keeps what was done before', () => {
    const image = open(ErrorBehaviour.REMOUNT_READ_ONLY);
    image.fs.noteError(damage);
    image.begin();
    expect(image.fs.isReadOnly).toBe(true);
    expect(() => image.fs.createNode(image.root, bytesOf('after'), 0, 5, 0o100644, 0, 0, 0)).toThrow('aborted');
    expect(image.fs.close()).not.toBe(0);
    const recovered = openBytes(image.bytes);
    expect(recovered.lookup(recovered.inode(2), bytesOf('before'), 0, 6)).not.toBe(0);
    expect(() => new WritableImage(saved(image))).toThrow('running e2fsck is required');
  });

  test('ends the process under errors=panic', () => {
    let panics = 0;
    const image = open(ErrorBehaviour.PANIC, () => panics++);
    image.fs.noteError(new DeviceError(5, 'read', 0, 4096));
    image.begin();
    expect(panics).toBe(1);
  });

  test('that follows closely on other is not recorded again', () => {
    const image = open(ErrorBehaviour.CONTINUE);
    image.fs.noteError(damage);
    image.fs.noteError(damage);
    image.begin();
    image.begin();
    image.close();
    expect(fields(image).get('FS Error count')).toBe('1');
  });

  test('is no refusal', () => {
    const image = open(ErrorBehaviour.REMOUNT_READ_ONLY);
    let error: unknown;
    try {
      image.fs.unlink(image.root, bytesOf('none'), 0, 4);
    } catch (thrown) {
      error = thrown;
    }
    image.fs.noteError(error);
    image.begin();
    expect(image.fs.isReadOnly).toBe(false);
    image.close();
  });
});
