import { closeSync, openSync, rmSync, truncateSync } from 'node:fs';
import { FIXED_IDENTITY } from './e2fsprogs.ts';
import type { OperationScript } from './operation-script.ts';
import { run, type TestRoom } from './test-room.ts';
import { type TreeSnapshot, takeSnapshot } from './tree-snapshot.ts';

export interface ImageRecipe {
  readonly sizeBytes: number;
  /** Arguments of mke2fs before the image name. */
  readonly mkfs: readonly string[];
  /** debugfs commands for the empty file system, for what mke2fs has no option for. */
  readonly debugfs?: readonly string[];
}

/** mke2fs takes the last -E only, so ours and the recipe's become one. */
function mergeExtendedOptions(args: readonly string[]): string[] {
  const merged: string[] = [];
  const extended: string[] = [];
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '-E') extended.push(args[++i]);
    else merged.push(args[i]);
  }
  return extended.length > 0 ? [...merged, '-E', extended.join(',')] : merged;
}

export function makeImage(room: TestRoom, name: string, recipe: ImageRecipe): string {
  const image = room.path(name);
  rmSync(image, { force: true });
  closeSync(openSync(image, 'wx'));
  truncateSync(image, recipe.sizeBytes);
  run('mke2fs', ['-q', '-F', ...mergeExtendedOptions([...FIXED_IDENTITY, ...recipe.mkfs]), image]);
  for (const command of recipe.debugfs ?? []) run('debugfs', ['-w', '-R', command, image]);
  return image;
}

/** Mounts an image with the kernel's ext4 on a new directory. The loop device goes with the mount. */
export function kernelMount(room: TestRoom, image: string, options: string): string {
  const mountPoint = room.mountPoint();
  run('mount', ['-t', 'ext4', '-o', `loop,${options}`, image, mountPoint]);
  return mountPoint;
}

export async function withKernelMount<T>(
  room: TestRoom,
  image: string,
  options: string,
  use: (root: string) => T | Promise<T>,
): Promise<T> {
  const mountPoint = kernelMount(room, image, options);
  try {
    return await use(mountPoint);
  } finally {
    run('umount', [mountPoint]);
  }
}

/** Fills an image through the kernel. ext2 and ext3 images are the ext4 driver's work as well. */
export async function populateImage(
  room: TestRoom,
  image: string,
  script: OperationScript,
  options = 'rw',
): Promise<void> {
  await withKernelMount(room, image, options, (root) => script.run(root));
}

/** What the kernel shows of an image when it may not change it. */
export function kernelSnapshot(room: TestRoom, image: string, options = 'ro,noatime'): Promise<TreeSnapshot> {
  return withKernelMount(room, image, options, takeSnapshot);
}
