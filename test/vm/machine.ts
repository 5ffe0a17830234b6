import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';

/** What a script in the machine came to. */
export interface Outcome {
  readonly status: number;
  readonly output: string;
}

interface Waiting {
  readonly number: number;
  readonly settle: (outcome: Outcome) => void;
  readonly fail: (error: Error) => void;
}

const MEMORY_MIB = 2048;

/**
 * A virtual machine in software emulation. Its disk starts as the base image and forgets every change when the machine
 * ends, but not when it reboots. Scripts run in it through an agent behind a virtio port.
 */
export class Machine {
  readonly #qemu: ChildProcess;
  readonly #directory: string;
  #port: Socket | null = null;
  #lines: Interface | null = null;
  #waiting: Waiting | null = null;
  #number = 0;
  readonly #boots: string[] = [];
  #onBoot: (() => void) | null = null;
  #end: Error | null = null;

  /**
   * `base` is what make-base made; `cargo` is a file that the machine sees as /dev/vdb, `disks` as /dev/sda,
   * /dev/sdb...; `directory` is a scratch one.
   */
  constructor(base: string, cargo: string, disks: readonly string[], directory: string) {
    this.#directory = directory;
    const args = [
      // Five levels of page tables and mitigations cost time in emulation, and are nothing to us.
      ['-accel', 'tcg', '-cpu', 'max,la57=off', '-smp', '1', '-m', String(MEMORY_MIB)],
      ['-nodefaults', '-display', 'none'],
      ['-kernel', join(base, 'vmlinuz'), '-initrd', join(base, 'initrd.img')],
      ['-append', 'root=/dev/vda rw console=ttyS0 quiet mitigations=off systemd.show_status=no'],
      ['-drive', `file=${join(base, 'disk')},format=raw,if=virtio,snapshot=on,cache=unsafe`],
      ['-drive', `file=${cargo},format=raw,if=virtio,readonly=on`],
      ['-device', 'virtio-scsi-pci'],
      ...disks.flatMap((disk, index) => [
        ['-drive', `file=${disk},format=raw,if=none,id=disk${index},cache=unsafe`],
        ['-device', `scsi-hd,drive=disk${index}`],
      ]),
      ['-device', 'virtio-rng-pci', '-device', 'virtio-serial-pci'],
      ['-chardev', `socket,id=agent,path=${join(directory, 'agent')},server=on,wait=off`],
      ['-device', 'virtserialport,chardev=agent,name=fuse4fs.test'],
      ['-monitor', `unix:${join(directory, 'monitor')},server=on,wait=off`, '-serial', 'stdio'],
    ].flat();
    // It does not outlive the test, whatever becomes of that.
    this.#qemu = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const console = createWriteStream(join(directory, 'console'));
    this.#qemu.stdout?.pipe(console, { end: false });
    this.#qemu.stderr?.pipe(console, { end: false });
    this.#qemu.on('error', (error) => this.#ended(error));
    this.#qemu.on('exit', (code, signal) => this.#ended(new Error(`QEMU ended with ${signal ?? code}`)));
  }

  /** Resolves with the kernel's id of the boot that follows the `boots` that were seen so far. */
  async booted(boots: number): Promise<string> {
    if (this.#port === null) await this.#connect();
    while (this.#boots.length <= boots) {
      if (this.#end !== null) throw this.#end;
      await new Promise<void>((resolve) => {
        this.#onBoot = resolve;
      });
    }
    return this.#boots[boots];
  }

  get boots(): number {
    return this.#boots.length;
  }

  /** Runs a script of bash as root. One at a time; what it leaves running must not hold on to standard output. */
  run(script: string): Promise<Outcome> {
    const port = this.#port;
    if (port === null || this.#end !== null) return Promise.reject(this.#end ?? new Error('the machine is not up'));
    if (this.#waiting !== null) return Promise.reject(new Error('a script is running already'));
    this.#number += 1;
    const number = this.#number;
    return new Promise((settle, fail) => {
      this.#waiting = { number, settle, fail };
      port.write(`${number} ${Buffer.from(script).toString('base64')}\n`);
    });
  }

  /** Pulls the plug and puts it in again. */
  async reset(): Promise<void> {
    const monitor = connect(join(this.#directory, 'monitor'));
    await once(monitor, 'connect');
    monitor.write('system_reset\n');
    await this.booted(this.#boots.length);
    monitor.destroy();
  }

  /** Has the system reboot by itself, and waits until it is up again. */
  async reboot(): Promise<void> {
    const before = this.#boots.length;
    await this.run('systemctl --no-block reboot').catch(() => {});
    await this.booted(before);
  }

  async stop(): Promise<void> {
    if (this.#end !== null) return;
    const ended = once(this.#qemu, 'exit');
    this.#qemu.kill('SIGKILL');
    await ended;
  }

  async #connect(): Promise<void> {
    const path = join(this.#directory, 'agent');
    while (!existsSync(path)) {
      if (this.#end !== null) throw this.#end;
      await new Promise(setImmediate);
    }
    const port = connect(path);
    await once(port, 'connect');
    this.#port = port;
    this.#lines = createInterface({ input: port, crlfDelay: Number.POSITIVE_INFINITY });
    this.#lines.on('line', (line) => this.#heard(line));
  }

  #heard(line: string): void {
    const [first, second, third = ''] = line.split(' ');
    if (first === 'ready') {
      this.#boots.push(second);
      this.#waiting?.fail(new Error('the machine booted before the script had ended'));
      this.#waiting = null;
      this.#onBoot?.();
      return;
    }
    const waiting = this.#waiting;
    if (waiting === null || Number(first) !== waiting.number) return;
    this.#waiting = null;
    waiting.settle({ status: Number(second), output: Buffer.from(third, 'base64').toString().trimEnd() });
  }

  #ended(error: Error): void {
    this.#end = error;
    this.#waiting?.fail(error);
    this.#onBoot?.();
    this.#lines?.close();
    this.#port?.destroy();
  }
}
