// Builds the addon and the programs into bin/: each program is one bundled file, with the addon beside it.
// Direct call: node scripts/build.mjs [OUTPUT-DIRECTORY]
import { chmodSync, mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { compileAddon } from './compile-addon.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const outputDirectory = resolve(process.argv[2] ?? join(root, 'bin'));

async function bundle(entry, output) {
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: join(outputDirectory, output),
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'cjs',
    minifySyntax: true,
    legalComments: 'none',
    banner: { js: '#!/usr/bin/env node' },
    define: { __ADDON_DIRECTORY__: '__dirname' },
    logLevel: 'warning',
  });
  chmodSync(join(outputDirectory, output), 0o755);
}

mkdirSync(outputDirectory, { recursive: true });
await compileAddon(join(outputDirectory, 'fuse4fs.node'), []);
await Promise.all([
  bundle('service/fuse4fs.ts', 'fuse4fs'),
  bundle('helper/fuservicemount.ts', 'fuservicemount'),
  bundle('helper/broker/broker.ts', 'fuservicemount-broker'),
  bundle('ctl/fuse4fsctl.ts', 'fuse4fsctl'),
]);
