/** A mount that may be ours, as the kernel's table has it. */
export interface Mount {
  readonly mountPoint: string;
  readonly device: string;
  /** "fuse.ext4" or the like. */
  readonly type: string;
  readonly isReadOnly: boolean;
  /** As st_dev of its files. */
  readonly deviceNumber: number;
}

/** What programs that serve ext4 call their mounts. Which of them are ours, they tell when they are asked. */
const TYPE = /^fuse(blk)?\.ext[234]$/;

/** `text` is /proc/self/mountinfo (proc_pid_mountinfo(5)); the mounts in it that may be ours. */
export function parseMountTable(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const [before, behind] = line.split(' - ', 2);
    const fields = before.split(' ');
    const [type, source, superOptions] = (behind ?? '').split(' ');
    if (fields.length < 6 || !TYPE.test(type) || source === undefined) return [];
    const options = `${fields[5]},${superOptions ?? ''}`.split(',');
    return [
      {
        mountPoint: unescaped(fields[4]),
        device: unescaped(source),
        type,
        isReadOnly: options.includes('ro'),
        deviceNumber: deviceNumber(fields[2]),
      },
    ];
  });
}

/** The mount that a user means by a mount point or a device: the one mounted last. Null when there is none. */
export function findMount(mounts: readonly Mount[], name: string): Mount | null {
  return mounts.filter((mount) => mount.mountPoint === name || mount.device === name).at(-1) ?? null;
}

/** Blank, tab, newline and backslash are octal there. */
function unescaped(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** makedev(3): twelve bits of the major number lie between eight and twelve of the minor one. */
function deviceNumber(text: string): number {
  const [major, minor] = text.split(':').map(Number);
  return (minor % 256) + major * 256 + Math.floor(minor / 256) * 2 ** 20;
}
