// Bundles bench/iomap.ts and runs it, with the addon that `npm run build` has made.
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const program = join(root, 'build', 'bench-iomap.cjs');
await build({
  absWorkingDir: root,
  entryPoints: ['bench/iomap.ts'],
  outfile: program,
  bundle: true,
  platform: 'node',
  format: 'cjs',
  external: ['esbuild'],
  define: {
    __ADDON_DIRECTORY__: JSON.stringify(join(root, 'bin')),
    'import.meta.dirname': JSON.stringify(join(root, 'test', 'peer')),
  },
  logLevel: 'warning',
});
const child = spawn(process.execPath, [program], { stdio: 'inherit' });
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
