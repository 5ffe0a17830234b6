import { readSync } from 'node:fs';
import { receivePacket, sendPacket } from '../../native/seqpacket.ts';
import { errnoOf } from '../../shared/errno.ts';
import type { Step } from './scripted-service-process.ts';

/** A service that follows the script in its environment, on the socket it was activated with. */
const SOCKET = 3;
const FUSE_REQUEST_BYTES = 1 << 20;

/** The device of the mount. */
let fuseFd = -1;

function say(text: string): void {
  process.stderr.write(`service: ${text}\n`);
}

function receive(count: number): void {
  for (let index = 0; index < count; index++) {
    const packet = receivePacket(SOCKET, 65536, -1);
    if (packet === null) {
      say('hung up');
      process.exit(1);
    }
    const content = Buffer.from(packet.bytes).toString('latin1');
    if (content.includes('fusedev')) fuseFd = packet.fd;
    say(`got ${content.slice(0, 4)}${content.startsWith('REPL') ? packet.bytes[7] : ''}`);
  }
}

/** Reads requests, answers none, and ends with the mount. */
function serve(): void {
  const request = Buffer.alloc(FUSE_REQUEST_BYTES);
  try {
    for (;;) say(`request of ${readSync(fuseFd, request)} bytes, opcode ${request.readUInt32LE(4)}`);
  } catch (error) {
    say(`unmounted, errno ${errnoOf(error)}`);
  }
}

function follow(step: Step): void {
  if ('send' in step) sendPacket(SOCKET, Buffer.from(step.send, 'hex'));
  else if ('receive' in step) receive(step.receive);
  else if ('say' in step) say(step.say);
  else if (step.then === 'serve') serve();
  else if (step.then === 'die') process.kill(process.pid, 'SIGKILL');
}

say(`started as ${process.pid}`);
for (const step of JSON.parse(process.env.SCRIPT ?? '[]') as Step[]) follow(step);
