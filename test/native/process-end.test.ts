import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { addonPath, scratchDirectory } from './fixtures/scratch.ts';

/** Runs a script with the addon as `addon`, a busy pump and an open channel; returns how the process ended. */
function endOf(script: string): { status: number | null; signal: NodeJS.Signals | null; stderr: string } {
  const image = join(scratchDirectory(), 'image');
  writeFileSync(image, new Uint8Array(4 << 20));
  const source = `
    const fs = require('node:fs');
    const addon = require(${JSON.stringify(addonPath)});
    const image = fs.openSync(${JSON.stringify(image)}, 'r');
    const busyPump = () => {
      const pump = new addon.DataPump(fs.openSync('/dev/null', 'w'), image, 1, 8, 1 << 20);
      const segments = new Float64Array([0, 1 << 20]);
      for (let i = 0; i < 500; i++) pump.replyRead(i, 0, segments, 1);
      return pump;
    };
    const openChannel = () => new addon.FuseChannel(fs.openSync('/dev/fuse', 'r+'), 65536, 4096, 0, 1);
    ${script}`;
  const { status, signal, stderr } = spawnSync(process.execPath, ['-e', source], { encoding: 'utf8' });
  return { status, signal, stderr };
}

const CLEAN = { status: 0, signal: null, stderr: '' };

it('process.exit with reads under way ends cleanly', () => {
  expect(endOf('busyPump(); process.exit(0);')).toEqual(CLEAN);
});

it('running off the end with reads under way ends cleanly', () => {
  expect(endOf('globalThis.kept = busyPump();')).toEqual(CLEAN);
});

it('a pump that is collected with reads under way ends cleanly', () => {
  expect(
    endOf(`require('node:v8').setFlagsFromString('--expose-gc');
      busyPump(); require('node:vm').runInNewContext('gc')(); setImmediate(() => {});`),
  ).toEqual(CLEAN);
});

it('process.exit with a watched channel and a flush under way ends cleanly', () => {
  expect(
    endOf('openChannel().start(() => {}); addon.flushDevice(image, () => {}); busyPump(); process.exit(0);'),
  ).toEqual(CLEAN);
});

it('a channel closed within its own callback ends cleanly and lets the process end', () => {
  expect(endOf('const channel = openChannel(); channel.start(() => channel.close());')).toEqual(CLEAN);
});

it('a worker thread that is terminated with pump, channel and flush at work ends cleanly', () => {
  expect(
    endOf(`const { Worker, isMainThread } = require('node:worker_threads');
      const worker = new Worker(\`
        const fs = require('node:fs');
        const addon = require(${JSON.stringify(addonPath)});
        const image = fs.openSync('/dev/zero', 'r');
        const pump = new addon.DataPump(fs.openSync('/dev/null', 'w'), image, 1, 8, 1 << 20);
        for (let i = 0; i < 100; i++) pump.replyRead(i, 0, new Float64Array([0, 1 << 20]), 1);
        new addon.FuseChannel(fs.openSync('/dev/fuse', 'r+'), 65536, 4096, 0, 1).start(() => {});
        addon.flushDevice(image, () => {});
        require('node:worker_threads').parentPort.postMessage('ready');
        setInterval(() => {}, 1000);
      \`, { eval: true });
      worker.once('message', () => worker.terminate());`),
  ).toEqual(CLEAN);
});

it('an exception in the callback of a channel is an uncaught exception', () => {
  const end = endOf("openChannel().start(() => { throw new Error('from the callback'); });");
  expect(end.status).toBe(1);
  expect(end.stderr).toMatch(/Error: from the callback/);
});
