import { afterAll, describe, expect, test } from 'vitest';
import { ErrorBehaviour } from '../../../service/ext4/error-handling.ts';
import { CorruptionError, DeviceError } from '../../../service/ext4/errors.ts';
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
