import { readFileSync } from 'node:fs';
import { Errno, SystemError } from '../shared/errno.ts';

/** One mount of this process's mount namespace, from /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export interface MountEntry {
  readonly id: number;
  /** What it lies in, or over. */
  readonly parentId: number;
  /** "major:minor" */
  readonly device: string;
  readonly mountPoint: string;
  /** "ext4", "fuse.ext4"... */
  readonly type: string;
  /** Of the superblock, for FUSE with `user_id=`. */
  readonly options: readonly string[];
}

/** Asks only the kernel: a file system whose server does not answer holds nobody up. */
export function readMountTable(): readonly MountEntry[] {
  return parseMountTable(readFileSync('/proc/self/mountinfo', 'latin1'));
}

/** Exported for its test. */
export function parseMountTable(text: string): readonly MountEntry[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const fields = line.split(' ');
      // Behind six fixed fields stand any number of tags, and then a dash. Blanks that users chose are in octal.
      const dash = fields.indexOf('-', 6);
      return {
        id: Number(fields[0]),
        parentId: Number(fields[1]),
        device: fields[2],
        mountPoint: unescapeOctal(fields[4]),
        type: fields[dash + 1],
        options: fields[dash + 3].split(','),
      };
    });
}

/** Blanks, line ends and backslashes in names are octal there; the rest is whatever bytes the name has. */
function unescapeOctal(field: string): string {
  const bytes = field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** Names the mount that an open file lies in; of any namespace. */
export function mountIdOf(fd: number): number {
  const match = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'));
  if (match === null) throw new SystemError(Errno.ENOENT, 'mount', `fd ${fd}`);
  return Number(match[1]);
}

/** The mount that an open file lies in, or null when this namespace has it not, or no longer, or not yet. */
export function mountOf(fd: number, table: readonly MountEntry[]): MountEntry | null {
  const id = mountIdOf(fd);
  return table.find((entry) => entry.id === id) ?? null;
}

export function isFuseMount(entry: MountEntry): boolean {
  return /^fuse(blk)?(\.|$)/.test(entry.type);
}

/** Only FUSE mounts have an owner. */
export function belongsTo(entry: MountEntry, uid: number): boolean {
  return isFuseMount(entry) && entry.options.includes(`user_id=${uid}`);
}
