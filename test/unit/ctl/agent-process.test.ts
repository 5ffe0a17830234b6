import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { AgentProcess } from '../../../ctl/agent-process.ts';
import type { MountAnswer, MountRequest } from '../../../ctl/mount-requests.ts';
import { Errno } from '../../../shared/errno.ts';

const REQUEST: MountRequest = { verb: 'sync', mountPoint: '/', deviceNumber: 0, leastBytes: 0 };
const ANSWER: MountAnswer = { ok: true, statistics: null, trimmedBytes: 0 };
const ANSWERS = `while read -r request; do echo '${JSON.stringify(ANSWER)}'; done`;

/** A client whose agent is this script, which has to be `ready` first. */
function clientOf(script: string, timeoutMs: number): AgentProcess {
  const client = new AgentProcess(['sh', '-c', script], timeoutMs);
  onTestFinished(() => client.close());
  return client;
}

it('a process that starts slowly does not use up the time that a server has', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'fuse4fs-agent-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const start = join(directory, 'start');
  execFileSync('mkfifo', [start]);
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());

  const answer = clientOf(`read -r word <${start}; echo ready; ${ANSWERS}`, 1000).ask(REQUEST);
  vi.advanceTimersByTime(60_000);
  writeFileSync(start, 'go\n');
  expect(await answer).toEqual(ANSWER);
});

it('one process answers many requests, without a warning', async () => {
  const warnings: Error[] = [];
  const keep = (warning: Error): void => void warnings.push(warning);
  process.on('warning', keep);
  onTestFinished(() => void process.off('warning', keep));
  const client = clientOf(`echo ready; ${ANSWERS}`, 10_000);
  for (let count = 0; count < 20; count++) expect(await client.ask(REQUEST)).toEqual(ANSWER);
  expect(warnings).toEqual([]);
});

it('a server that does not answer is given up, and the next one is asked by another process', async () => {
  const client = clientOf('echo ready; exec sleep 60', 100);
  const late = { ok: false, errno: Errno.ETIMEDOUT, reason: 'no answer within 0.1 s' };
  expect([await client.ask(REQUEST), await client.ask(REQUEST)]).toEqual([late, late]);
});

it('a process that ends before it is ready is a failure that says so', async () => {
  const ended = { ok: false, errno: Errno.EPIPE, reason: 'the process that asks has ended' };
  expect(await clientOf('exit 1', 10_000).ask(REQUEST)).toEqual(ended);
  const client = new AgentProcess(['/nonexistent/program'], 10_000);
  expect(await client.ask(REQUEST)).toEqual(ended);
});
