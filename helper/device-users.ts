/** Who else uses a block device or an image: for messages, and as far as the caller may see it. */
import { readdirSync, readFileSync, readlinkSync, realpathSync, type Stats, statSync } from 'node:fs';
import { loopDevicesOver } from './loop.ts';

/** Of a long list only the beginning helps. */
const USERS_MAX = 8;
const COMMAND_CHARACTERS_MAX = 200;

/**
 * Phrases such as "mounted on /mnt"; none when nobody is found. Others are compared by name, not looked at: what they
 * have open may be on a file system that does not answer.
 */
export function usersOf(path: string): string[] {
  try {
    const name = realpathSync(path);
    const file = statSync(name);
    const claims = file.isBlockDevice() ? claimsOf(name, file) : loopDevicesOver(file).map(attached);
    return [...claims, ...mountsOf(name, file), ...processesWith(name)].slice(0, USERS_MAX);
  } catch {
    return [];
  }
}

const attached = (loop: string): string => `attached to /dev/${loop}`;

function claimsOf(name: string, device: Stats): string[] {
  const holders = namesIn(`/sys/dev/block/${deviceNumber(device.rdev)}/holders`).map(
    (holder) => `held by /dev/${holder}`,
  );
  const isSwap = linesOf('/proc/swaps').some((line) => withoutEscapes(line.split(/\s/)[0]) === name);
  return isSwap ? [...holders, 'used for swapping'] : holders;
}

/** Mounts of the device itself, and those of servers, which name what they serve as their source. */
function mountsOf(name: string, file: Stats): string[] {
  const number = file.isBlockDevice() ? deviceNumber(file.rdev) : '';
  const mounts: string[] = [];
  for (const line of linesOf('/proc/self/mountinfo')) {
    const [fields, described = ''] = line.split(' - ');
    const [, , device, , point = ''] = fields.split(' ');
    const [, source = ''] = described.split(' ');
    if (device === number || withoutEscapes(source) === name) mounts.push(`mounted on ${withoutEscapes(point)}`);
  }
  return mounts;
}

function processesWith(name: string): string[] {
  const processes: string[] = [];
  for (const pid of namesIn('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const isOpen = namesIn(`/proc/${pid}/fd`).some((fd) => linkText(`/proc/${pid}/fd/${fd}`) === name);
    if (isOpen) processes.push(`open in process ${pid} (${commandOf(pid)})`);
  }
  return processes;
}

function commandOf(pid: string): string {
  const words = linesOf(`/proc/${pid}/cmdline`).join(' ').replaceAll('\0', ' ');
  return words.trim().slice(0, COMMAND_CHARACTERS_MAX);
}

/** As /sys and mountinfo have it: major and minor of the number that stat(2) gives (makedev(3)). */
function deviceNumber(rdev: number): string {
  const low = rdev >>> 0;
  const major = ((low >>> 8) & 0xfff) + Math.floor(rdev / 2 ** 32) * 2 ** 12;
  const minor = (low & 0xff) | ((low >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}

/** Octal escapes of the kernel's tables: space, tab, newline, backslash. */
const withoutEscapes = (field: string): string =>
  field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

function linkText(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').filter(Boolean);
  } catch {
    return [];
  }
}
