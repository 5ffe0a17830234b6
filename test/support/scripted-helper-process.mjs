// The process behind ScriptedHelper: descriptor 3 is the connection, the script is the first argument.
import { spawnSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { createRequire } from 'node:module';

const SOCKET = 3;
const TIMEOUT_MS = 20_000;
const PACKET_BYTES_MAX = 1 << 20;

const { steps, addon: addonPath, sendDescriptors } = JSON.parse(process.argv[2]);
const addon = createRequire(import.meta.url)(addonPath);
const bytesOf = (hex) => new Uint8Array(Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'));
const received = [];

function succeed(result, what) {
  if (result < 0) throw new Error(`${what}: errno ${-result}`);
  return result;
}

/** Hexadecimal, or null at the end of the connection. */
function receive() {
  const length = succeed(addon.peekPacket(SOCKET, TIMEOUT_MS), 'peek');
  if (length === 0) return null;
  const bytes = new Uint8Array(Math.min(length, PACKET_BYTES_MAX));
  const result = addon.receivePacket(SOCKET, bytes);
  if (typeof result === 'number') throw new Error(`receive: errno ${-result}`);
  if (result[1] >= 0) throw new Error('the service sent a descriptor');
  const hex = Buffer.from(bytes).toString('hex');
  received.push(hex);
  return hex;
}

function send({ send: hex, attach }) {
  const bytes = bytesOf(hex);
  if (attach === undefined) {
    succeed(addon.sendPacket(SOCKET, bytes, -1), 'send');
  } else if ('memfd' in attach || 'zeros' in attach) {
    const content = 'memfd' in attach ? bytesOf(attach.memfd) : new Uint8Array(attach.zeros);
    const fd = succeed(addon.createSealedMemfd('script', content), 'memfd_create');
    succeed(addon.sendPacket(SOCKET, bytes, fd), 'send');
    closeSync(fd);
  } else {
    const words = [String(attach.descriptors), Buffer.from(bytes).toString('hex')];
    const result = spawnSync(sendDescriptors, words, { stdio: ['ignore', 'ignore', 'pipe', SOCKET], encoding: 'utf8' });
    if (result.status !== 0) throw new Error(`send-descriptors: ${result.stderr}`);
  }
}

function expect({ expect: hex }) {
  const wanted = Buffer.from(bytesOf(hex)).toString('hex');
  const found = receive();
  if (found !== wanted) throw new Error(`expected ${wanted}, received ${found ?? 'the end'}`);
}

let failure = null;
try {
  for (const step of steps) {
    if ('send' in step) send(step);
    else if ('expect' in step) expect(step);
    else closeSync(SOCKET);
  }
  if (!steps.some((step) => 'close' in step)) while (receive() !== null);
} catch (error) {
  failure = error.message;
}
process.stdout.write(JSON.stringify({ received, failure }));
