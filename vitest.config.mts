import { resolve } from 'node:path';
import { defineConfig } from 'vitest/config';

const addonDirectory = process.env.FUSE4FS_ADDON_DIR ?? resolve(import.meta.dirname, 'bin');

/** unit and property need no privilege; the others need root, /dev/fuse and loop devices. */
const project = (name: string, testTimeout: number, fileParallelism: boolean) => ({
  extends: true as const,
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout,
    // Hooks make the images that many tests read: on a busy machine that takes longer than any single unit test may.
    hookTimeout: Math.max(testTimeout, 120_000),
    fileParallelism,
    pool: 'forks' as const,
  },
});

export default defineConfig({
  define: { __ADDON_DIRECTORY__: JSON.stringify(addonDirectory) },
  test: {
    projects: [
      project('unit', 20_000, true),
      project('property', 120_000, true),
      project('crash', 600_000, true),
      project('native', 60_000, false),
      project('service', 60_000, false),
      project('kernel', 600_000, false),
      project('hostile', 1_200_000, false),
      project('peer', 600_000, false),
      // Need Debian's tools for packages, and for vm a virtual machine: see test/vm.
      project('package', 120_000, false),
      project('vm', 900_000, false),
    ],
  },
});
