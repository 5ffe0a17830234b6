/** Bugs that a journalling file system might have, made from outside, to find out whether they would be found. */
import { vi } from 'vitest';
import { GroupBlockAllocator } from '../../service/ext4/block-allocator.ts';
import type { DeviceStep } from '../../service/ext4/block-device.ts';
import type { CachedBlock } from '../../service/ext4/buffer-cache.ts';
import { Handle } from '../../service/ext4/journal/handle.ts';
import { HomeWriter } from '../../service/ext4/journal/home-writer.ts';
import { Journal } from '../../service/ext4/journal/journal.ts';
import { TransactionEncoder } from '../../service/ext4/journal/transaction-encoder.ts';
import { OrphanRegistry } from '../../service/ext4/orphans.ts';
import { WritableFilesystem } from '../../service/ext4/writable-filesystem.ts';
import type { SessionOptions } from './crash-explorer.ts';
import { RecordingDevice } from './recording-device.ts';

export interface SeededBug {
  readonly name: string;
  /** Spies that make the bug; they are taken away afterwards. */
  install?(): void;
  /** Devices that make the bug. */
  readonly session?: SessionOptions;
}

/** A device that changes programs before it takes them. */
class MeddlingDevice extends RecordingDevice {
  readonly #meddle: (steps: readonly DeviceStep[]) => readonly DeviceStep[];

  constructor(image: Uint8Array, meddle: (steps: readonly DeviceStep[]) => readonly DeviceStep[]) {
    super(image);
    this.#meddle = meddle;
  }

  override run(steps: readonly DeviceStep[], done: (errno: number) => void): number {
    return super.run(this.#meddle(steps), done);
  }
}

/** The first flush, which is that between replayed blocks and the journal's superblock, does nothing. */
class FirstFlushLost extends RecordingDevice {
  #isFirst = true;

  override flush(): number {
    if (!this.#isFirst) return super.flush();
    this.#isFirst = false;
    return 0;
  }
}

/** What goes through the page cache comes to the disk behind the next commit block or other durable write. */
class LateData extends RecordingDevice {
  readonly #late: RecordingDevice['events'] = [];

  override write(offsetBytes: number, from: Uint8Array): number {
    const errno = super.write(offsetBytes, from);
    const event = this.events.pop();
    if (event !== undefined) this.#late.push(event);
    return errno;
  }

  override step(id = 0): boolean {
    const before = this.events.length;
    const isAny = super.step(id);
    const last = this.events.at(-1);
    if (this.events.length > before && last?.kind === 'write' && last.durable)
      this.events.push(...this.#late.splice(0));
    return isAny;
  }
}

const meddling = (meddle: (steps: readonly DeviceStep[]) => readonly DeviceStep[]): SessionOptions => ({
  device: (image) => new MeddlingDevice(image, meddle),
});

const withoutFlushes = (steps: readonly DeviceStep[]): DeviceStep[] => steps.filter((step) => step.kind !== 'flush');
const isCheckpoint = (steps: readonly DeviceStep[]): boolean =>
  steps.length === 2 && steps[0].kind === 'flush' && steps[1].kind === 'write' && steps[1].durable;
const isCommit = (steps: readonly DeviceStep[]): boolean => steps.length > 2 && steps.at(-1)?.kind === 'write';

export const SEEDED_BUGS: readonly SeededBug[] = [
  {
    name: 'no flush before the commit block',
    session: meddling((steps) => (isCommit(steps) ? withoutFlushes(steps) : steps)),
  },
  {
    name: 'a commit block that is not durable',
    session: meddling((steps) =>
      isCommit(steps) ? steps.map((step) => (step.kind === 'write' ? { ...step, durable: false } : step)) : steps,
    ),
  },
  {
    name: 'a sync that returns too soon',
    install() {
      const commit = Journal.prototype.commit;
      vi.spyOn(Journal.prototype, 'commit').mockImplementation(function (this: Journal, done) {
        let isAnswered = false;
        commit.call(this, (errno) => {
          if (!isAnswered) done(errno);
        });
        if (this.isAborted) return;
        isAnswered = true;
        done(0);
      });
    },
  },
  {
    name: 'freed blocks used again before the commit',
    install() {
      const ended = GroupBlockAllocator.prototype.handleEnded;
      vi.spyOn(GroupBlockAllocator.prototype, 'handleEnded').mockImplementation(function (this: GroupBlockAllocator) {
        ended.call(this);
        this.transactionCommitted(Number.MAX_SAFE_INTEGER);
      });
    },
  },
  {
    name: 'no revoke records',
    install() {
      const encode = TransactionEncoder.prototype.encode;
      vi.spyOn(TransactionEncoder.prototype, 'encode').mockImplementation(function (
        this: TransactionEncoder,
        sequence,
        blocks,
        _revokes,
        time,
      ) {
        return encode.call(this, sequence, blocks, [], time);
      });
    },
  },
  {
    name: 'unwritten blocks converted before the data is there',
    install() {
      const plan = WritableFilesystem.prototype.planWrite;
      vi.spyOn(WritableFilesystem.prototype, 'planWrite').mockImplementation(function (
        this: WritableFilesystem,
        inode,
        offset,
        length,
        into,
      ) {
        plan.call(this, inode, offset, length, into);
        if (into.lengthBytes > 0) this.finishWrite(inode, offset, into.lengthBytes);
      });
    },
  },
  {
    name: 'blocks brought home before they are committed',
    install() {
      let handle: Handle | null = null;
      const end = Handle.prototype.end;
      vi.spyOn(Handle.prototype, 'end').mockImplementation(function (this: Handle) {
        handle = this;
        end.call(this);
      });
      const write = HomeWriter.prototype.write;
      vi.spyOn(HomeWriter.prototype, 'write').mockImplementation(function (this: HomeWriter, blocks) {
        const all = new Set<CachedBlock>(blocks);
        for (const block of handle?.running.blocks ?? []) all.add(block);
        return write.call(this, [...all]);
      });
    },
  },
  {
    name: 'orphans that nobody notes',
    install() {
      vi.spyOn(OrphanRegistry.prototype, 'add').mockImplementation(() => {});
    },
  },
  {
    name: "the log's tail moved on before blocks are home",
    session: meddling((steps) => (isCheckpoint(steps) ? withoutFlushes(steps) : steps)),
  },
  {
    name: 'no flush between a replay and the empty journal',
    session: { device: (image) => new FirstFlushLost(image) },
  },
  {
    name: 'data behind the commit that exposes it',
    session: { device: (image) => new LateData(image) },
  },
];
