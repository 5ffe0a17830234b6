// The program fuse4fs: a service when a service manager passed it a connected socket, else stand-alone.
import { restartWithoutRings } from '../native/io-uring.ts';
import { activatedSocket } from '../shared/listen-fds.ts';
import { programVersion } from './version.ts';

async function run(words: readonly string[]): Promise<number> {
  if (words.length === 1 && (words[0] === '-V' || words[0] === '--version')) {
    process.stderr.write(`${programVersion()}\n`);
    return 0;
  }
  const socket = activatedSocket(process.env, process.pid);
  if (socket !== null) {
    restartWithoutRings(socket);
    return (await import('./service.ts')).runService(socket, words);
  }
  return (await import('./standalone.ts')).runStandalone(process.argv[1], words);
}

run(process.argv.slice(2)).then(
  // Nothing may keep an unmounted server alive.
  (exitCode) => process.exit(exitCode),
  (error: unknown) => {
    process.stderr.write(`fuse4fs: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
