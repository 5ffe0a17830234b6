import { closeSync } from 'node:fs';
import { DEFAULT_FUSE_CONF, type FuseConf } from '../../helper/fuse-conf.ts';
import { runHelper } from '../../helper/helper.ts';
import { type Mounter, RootMounter } from '../../helper/mounter.ts';
import type { Timeouts } from '../../helper/session.ts';
import { receivePacket, sendPacket, socketPair } from '../../native/seqpacket.ts';
import { Errno, errnoOf } from '../../shared/errno.ts';

/**
 * Packets of a service, built by hand and not by the codec under test: a tag, then numbers of 2 or 4 bytes
 * and strings, in any wrong shape that a test wants.
 */
export type Part = { readonly u16: number } | { readonly u32: number } | string;

export function packet(tag: string, ...parts: readonly Part[]): Buffer {
  return Buffer.concat([Buffer.from(tag, 'latin1'), ...parts.map(bytesOfPart)]);
}

function bytesOfPart(part: Part): Buffer {
  if (typeof part === 'string') return Buffer.from(part, 'latin1');
  const bytes = Buffer.alloc('u16' in part ? 2 : 4);
  if ('u16' in part) bytes.writeUInt16BE(part.u16);
  else bytes.writeUInt32BE(part.u32);
  return bytes;
}

export const hello = packet('LAST', { u16: 1 }, { u16: 0 });
export const goodbye = (code: number): Buffer => packet('BYEE', { u32: code });
export const mountNow = (msFlags: number): Buffer => packet('DOIT', { u32: msFlags });
export const type = (flags: number): Buffer => packet('TYPE', { u32: flags });
export const source = (name: string): Buffer => packet('NAME', `${name}\0`);
export const options = (list: string): Buffer => packet('OPTS', `${list}\0`);
export const mtab = (list: string): Buffer => packet('MTAB', `${list}\0`);
export const mountPoint = (path: string, format = 0x4000): Buffer =>
  packet('MNTP', { u16: format }, { u16: 0 }, `${path}\0`);

export interface OpenWish {
  readonly flags?: number;
  readonly requestFlags?: number;
  readonly blockSize?: number;
}

export const open = (path: string, wish: OpenWish = {}): Buffer => openPacket('OPEN', path, wish);
export const openBlockDevice = (path: string, wish: OpenWish = {}): Buffer => openPacket('BDEV', path, wish);

function openPacket(tag: string, path: string, wish: OpenWish): Buffer {
  const { flags = 0, requestFlags = 0, blockSize = 0 } = wish;
  return packet(tag, { u32: flags }, { u32: 0 }, { u32: requestFlags }, { u32: blockSize }, `${path}\0`);
}

/** What the helper sent, in short: "REPL 0", "FILE 2 /path", "SAFT 1 1 3". The descriptor is the receiver's. */
export interface Answer {
  readonly text: string;
  readonly fd: number;
}

function describe(bytes: Buffer): string {
  const tag = bytes.toString('latin1', 0, 4);
  if (tag === 'SAFT') return `SAFT ${bytes.readUInt16BE(4)} ${bytes.readUInt16BE(6)} ${bytes.readUInt32BE(8)}`;
  const errno = bytes.readUInt32BE(4);
  return tag === 'FILE' ? `FILE ${errno} ${bytes.toString('latin1', 8, bytes.length - 1)}` : `${tag} ${errno}`;
}

export interface Conversation {
  readonly status: number;
  /** Everything after the hello and the two files that follow it. */
  readonly answers: readonly string[];
  /** All packets, with their descriptors, which `close` closes. */
  readonly received: readonly Answer[];
  /** Standard error of the helper. */
  readonly messages: readonly string[];
  close(): void;
}

export interface ConversationSetup {
  readonly words: readonly string[];
  readonly packets: readonly Buffer[];
  readonly subtype?: string;
  readonly fuseConf?: FuseConf;
  readonly mounter?: Mounter;
  readonly timeouts?: Partial<Timeouts>;
  readonly fake?: boolean;
  readonly logHint?: string;
  /** Sent along with the first packet. */
  readonly descriptor?: number;
}

/**
 * Runs the helper in this process against a service that has said everything beforehand: the helper never
 * waits, because a socket keeps packets in order. The service stays silent afterwards, but does not hang up.
 */
export function converse(setup: ConversationSetup): Conversation {
  const [helperEnd, serviceEnd] = socketPair();
  const messages: string[] = [];
  const report = { error: (text: string) => messages.push(text), detail: () => {} };
  try {
    for (const [index, bytes] of setup.packets.entries())
      sendPacket(serviceEnd, bytes, index === 0 ? (setup.descriptor ?? -1) : -1);
    const status = runHelper({
      socket: helperEnd,
      subtype: setup.subtype ?? 'test',
      words: setup.words,
      mounter: setup.mounter ?? new RootMounter(report),
      fuseConf: setup.fuseConf ?? DEFAULT_FUSE_CONF,
      report,
      logHint: setup.logHint ?? '',
      fake: setup.fake ?? false,
      timeouts: { helloMs: 0, commandMs: 0, totalMs: 60_000, ...setup.timeouts },
    });
    const received = receiveAll(serviceEnd);
    return {
      status,
      received,
      answers: received.slice(3).map((answer) => answer.text),
      messages,
      close: () => {
        for (const answer of received) if (answer.fd >= 0) closeSync(answer.fd);
      },
    };
  } finally {
    closeSync(helperEnd);
    closeSync(serviceEnd);
  }
}

function receiveAll(socket: number): Answer[] {
  const received: Answer[] = [];
  try {
    for (let next = receivePacket(socket, 65536, 0); next !== null; next = receivePacket(socket, 65536, 0))
      received.push({ text: describe(Buffer.from(next.bytes)), fd: next.fd });
  } catch (error) {
    if (errnoOf(error) !== Errno.ETIMEDOUT) throw error;
  }
  return received;
}
