/** A mount that may be ours, as the kernel's table has it. */
export interface Mount {
  readonly mountPoint: string;
  readonly device: string;
  /** "fuse.ext4" or the like. */
  readonly type: string;
  readonly isReadOnly: boolean;
  /** Who mounted it. */
  readonly uid: number;
  /** As st_dev of its files. */
  readonly deviceNumber: number;
}

/** What programs that serve ext4 call their mounts. Which of them are ours, they tell when they are asked. */
const TYPE = /^fuse(blk)?\.ext[234]$/;

const ROOT_UID = 0;
const USER_ID = 'user_id=';

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
        uid: ownerOf(options),
        deviceNumber: deviceNumber(fields[2]),
      },
    ];
  });
}

/**
 * The mount that the user `uid` means by a mount point or a device: the one mounted last. Null when there is none.
 * Whoever mounts says what the table shows as device. So that is no answer to a mount point, and what others than the
 * user and root say only where these say nothing.
 */
export function findMount(mounts: readonly Mount[], name: string, uid: number): Mount | null {
  const onDevice = mounts.filter((mount) => mount.device === name);
  return (
    mounts.findLast((mount) => mount.mountPoint === name) ??
    onDevice.findLast((mount) => mount.uid === ROOT_UID || mount.uid === uid) ??
    onDevice.at(-1) ??
    null
  );
}

/** A fuseblk mount of kernels that show none is root's: nobody else can have one. */
function ownerOf(options: readonly string[]): number {
  const word = options.findLast((option) => option.startsWith(USER_ID));
  return word === undefined ? ROOT_UID : Number(word.slice(USER_ID.length));
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
