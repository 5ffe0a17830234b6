// Bundles test/torture and runs it, with the addon that `npm run build` has made.
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const program = join(root, 'build', 'torture.cjs');
await build({
  absWorkingDir: root,
  entryPoints: ['test/torture/main.ts'],
  outfile: program,
  bundle: true,
  platform: 'node',
  format: 'cjs',
  define: { __ADDON_DIRECTORY__: JSON.stringify(join(root, 'bin')) },
  logLevel: 'warning',
});
const child = spawn(process.execPath, [program, ...process.argv.slice(2)], { stdio: 'inherit' });
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
