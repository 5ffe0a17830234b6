import { readFileSync, readSync, writeSync } from 'node:fs';
import { receivePacket, sendPacket } from '../../native/seqpacket.ts';
import { Errno, errnoOf } from '../../shared/errno.ts';
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
    if (content.includes('argv')) say(`words ${wordsIn(packet.fd)}`);
    say(`got ${content.slice(0, 4)}${content.startsWith('REPL') ? ` ${packet.bytes[7]}` : ''}`);
  }
}

/** The strings at the end of the argument file, which the helper leaves no hole in front of. */
function wordsIn(fd: number): string {
  const bytes = readFileSync(fd);
  const WORD_COUNT = 4;
  const TABLE = 8;
  const ENTRY_BYTES = 8;
  const strings = bytes.toString('utf8', TABLE + ENTRY_BYTES * bytes.readUInt32BE(WORD_COUNT));
  return strings.split('\0').slice(0, -1).join(' ');
}

/** Completes the mount, refuses everything else, and ends with the mount. */
function serve(): void {
  const request = Buffer.alloc(FUSE_REQUEST_BYTES);
  try {
    for (;;) {
      readSync(fuseFd, request);
      const opcode = request.readUInt32LE(4);
      say(`request with opcode ${opcode}`);
      answer(request.subarray(8, 16), opcode);
    }
  } catch (error) {
    say(`unmounted, errno ${errnoOf(error)}`);
  }
}

/**
 * fuse_out_header, and for INIT a fuse_init_out that offers nothing (linux/fuse.h). Numbers are little endian:
 * x86-64, arm64.
 */
function answer(unique: Buffer, opcode: number): void {
  const FORGET = 2;
  const INIT = 26;
  const HEADER_BYTES = 16;
  const INIT_BYTES = 64;
  if (opcode === FORGET) return;
  const reply = Buffer.alloc(opcode === INIT ? HEADER_BYTES + INIT_BYTES : HEADER_BYTES);
  reply.writeUInt32LE(reply.length, 0);
  unique.copy(reply, 8);
  if (opcode === INIT) {
    reply.writeUInt32LE(7, HEADER_BYTES);
    reply.writeUInt32LE(31, HEADER_BYTES + 4);
    reply.writeUInt32LE(4096, HEADER_BYTES + 20);
  } else reply.writeInt32LE(-Errno.ENOSYS, 4);
  writeSync(fuseFd, reply);
}

function follow(step: Step): void {
  if ('send' in step) sendPacket(SOCKET, Buffer.from(step.send, 'hex'));
  else if ('receive' in step) receive(step.receive);
  else if ('say' in step) say(step.say);
  else if (step.end === 'serve') serve();
  else if (step.end === 'die') process.kill(process.pid, 'SIGKILL');
}

say(`started as ${process.pid}`);
for (const step of JSON.parse(process.env.SCRIPT ?? '[]') as Step[]) follow(step);
