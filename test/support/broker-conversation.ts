import { closeSync } from 'node:fs';
import { BrokerConnection } from '../../helper/broker/connection.ts';
import { decodeAnswer } from '../../helper/broker/messages.ts';
import { BrokerSession } from '../../helper/broker/session.ts';
import { DEFAULT_FUSE_CONF, type FuseConf } from '../../helper/fuse-conf.ts';
import { receivePacket, sendPacket, socketPair } from '../../native/seqpacket.ts';
import { Errno, errnoOf } from '../../shared/errno.ts';
import { program } from './fuse4fs-mount.ts';
import { packet } from './scripted-service.ts';
import { WatchedProcess } from './scripted-service-process.ts';

/** Requests of a user's helper, built by hand and not by the codec under test. */
export interface Wish {
  readonly bytes: Buffer;
  readonly fd: number;
}

export const connect = (subtype: string): Wish => ({ bytes: packet('CONN', `${subtype}\0`), fd: -1 });
export const source = (name: string, fd = -1): Wish => ({ bytes: packet('SRCE', `${name}\0`), fd });
export const keep: Wish = { bytes: packet('KEEP'), fd: -1 };
export const unmountWish = (name: string, fd: number, flags = 0): Wish => ({
  bytes: packet('UMNT', { u32: flags }, `${name}\0`),
  fd,
});

export interface MountWish {
  readonly flags?: number;
  readonly options?: number;
  readonly subtype?: string;
}

export function mountOn(fd: number, { flags = 0, options = 0, subtype = 'ext4' }: MountWish = {}): Wish {
  return { bytes: packet('MOUN', { u32: flags }, { u32: options }, { u32: 0 }, `${subtype}\0`), fd };
}

export interface BrokerTalk {
  /** Each "0", or an errno and the broker's explanation. */
  readonly answers: readonly string[];
  /** What the administrator reads in the log. */
  readonly notes: readonly string[];
  /** Descriptors that came with the answers, which `close` closes. */
  readonly fds: readonly number[];
  close(): void;
}

/** Runs the broker in this process for a user of any id, and returns its notes. It waits for nothing. */
export function runBroker(socket: number, uid: number, fuseConf: Partial<FuseConf> = {}): readonly string[] {
  const notes: string[] = [];
  new BrokerSession({
    socket,
    peer: { pid: process.pid, uid, gid: uid },
    fuseConf: { ...DEFAULT_FUSE_CONF, ...fuseConf },
    report: { error: (text) => notes.push(text), detail: () => {} },
    patience: { firstMs: 0, serviceMs: 0, lastMs: 0 },
  }).run();
  return notes;
}

/** The same with a user who has said everything beforehand, and is silent then, but does not hang up. */
export function talkToBroker(wishes: readonly Wish[], uid: number, fuseConf: Partial<FuseConf> = {}): BrokerTalk {
  const [brokerEnd, userEnd] = socketPair();
  try {
    for (const { bytes, fd } of wishes) sendPacket(userEnd, bytes, fd);
    const notes = runBroker(brokerEnd, uid, fuseConf);
    const received = receiveAll(userEnd);
    const fds = received.map((answer) => answer.fd).filter((fd) => fd >= 0);
    return { answers: received.map((answer) => answer.text), notes, fds, close: () => fds.forEach(closeSync) };
  } finally {
    closeSync(brokerEnd);
    closeSync(userEnd);
  }
}

function receiveAll(socket: number): { readonly text: string; readonly fd: number }[] {
  const received: { text: string; fd: number }[] = [];
  try {
    for (let next = receivePacket(socket, 4096, 0); next !== null; next = receivePacket(socket, 4096, 0)) {
      const { errno, text } = decodeAnswer(next.bytes);
      received.push({ text: errno === Errno.OK ? '0' : `${errno} ${text}`, fd: next.fd });
    }
  } catch (error) {
    if (errnoOf(error) !== Errno.ETIMEDOUT) throw error;
  }
  return received;
}

/** A broker of its own process, for a user who is whoever runs this one. */
export class BrokerProcess {
  readonly connection: BrokerConnection;
  readonly process: WatchedProcess;

  constructor() {
    const [ours, theirs] = socketPair();
    const activate = 'LISTEN_PID=$$ exec "$@"';
    const args = ['-c', activate, 'sh', process.execPath, program('fuservicemount-broker')];
    this.process = new WatchedProcess('/bin/sh', args, { PATH: process.env.PATH, LISTEN_FDS: '1' }, theirs);
    closeSync(theirs);
    this.connection = new BrokerConnection(ours);
  }
}
