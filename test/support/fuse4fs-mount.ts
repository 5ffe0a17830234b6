import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { SupervisedProcess } from './supervised-process.ts';
import { mountsBelow, run, type TestRoom } from './test-room.ts';

const PROGRAMS = resolve(import.meta.dirname, '../../bin');

/** Path of a built program. A test that finds none fails with what to do. */
export function program(name: 'fuse4fs' | 'fuse4fsctl' | 'fuservicemount' | 'fuservicemount-broker'): string {
  const path = resolve(PROGRAMS, name);
  if (!existsSync(path)) throw new Error(`${path} is missing: run "npm run build" first`);
  return path;
}

const MOUNT_MILLISECONDS = 20_000;
const END_MILLISECONDS = 20_000;

/** An image that is mounted by fuse4fs, with all processes that serve it. */
export class Fuse4fsMount {
  readonly mountPoint: string;
  readonly process: SupervisedProcess;

  constructor(mountPoint: string, process: SupervisedProcess) {
    this.mountPoint = mountPoint;
    this.process = process;
  }

  /** umount, and then the server must end by itself. */
  async unmount(): Promise<void> {
    run('umount', [this.mountPoint]);
    await this.process.waitForAll(END_MILLISECONDS);
  }

  /** Removes the mount in any state; true when the orderly way did it. */
  async remove(): Promise<boolean> {
    const orderly = spawnSync('umount', [this.mountPoint]).status === 0;
    if (!orderly) spawnSync('umount', ['-l', this.mountPoint]);
    await this.process.waitForAll(END_MILLISECONDS);
    return orderly;
  }
}

/** A mount that may be refused: the process tells how, and its output why. */
export async function tryMountFuse4fs(room: TestRoom, image: string, options = 'ro'): Promise<Fuse4fsMount> {
  const mountPoint = room.mountPoint();
  const process = room.supervise([program('fuse4fs'), '-o', options, image, mountPoint]);
  await process.waitForEnd(MOUNT_MILLISECONDS);
  return new Fuse4fsMount(mountPoint, process);
}

/** Stand-alone mount: the command returns when the mount is live, the server goes on behind it. */
export async function mountFuse4fs(room: TestRoom, image: string, options = 'ro'): Promise<Fuse4fsMount> {
  const mount = await tryMountFuse4fs(room, image, options);
  const end = await mount.process.ended;
  if (end.code !== 0) throw new Error(`fuse4fs ended with ${JSON.stringify(end)}: ${mount.process.output}`);
  if (!mountsBelow(room.directory).includes(mount.mountPoint)) {
    throw new Error(`fuse4fs returned without a mount: ${mount.process.describe()}`);
  }
  return mount;
}
