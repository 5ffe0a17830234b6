import { readFileSync } from 'node:fs';
import { Errno, errnoOf } from '../shared/errno.ts';
import { failureText, type Report } from './report.ts';

/** The administrator's word on what the helper may do (fuse.conf of libfuse). */
export interface FuseConf {
  /** Users other than root may mount with allow_other. */
  readonly userAllowOther: boolean;
  /** How many FUSE mounts a user may have; -1 for any number. fusermount3 reads it itself. */
  readonly mountMax: number;
  readonly openPatterns: readonly OpenPattern[];
}

/** A service of this subtype ('*': any) may have files opened that match, though the caller did not name them. */
export interface OpenPattern {
  readonly subtype: string;
  readonly pattern: RegExp;
}

export const FUSE_CONF_PATH = '/etc/fuse.conf';
export const DEFAULT_FUSE_CONF: FuseConf = Object.freeze({
  userAllowOther: false,
  mountMax: 1000,
  openPatterns: [],
});

const LINE_CHARACTERS_MAX = 255;
/** More than NAME_MAX: no such file can be opened, but comparing it with a pattern could take for ever. */
const OVERLONG_NAME = /[^/]{256}/;

/** Defaults, which allow least, stand in for a file that can't be read. */
export function readFuseConf(path: string, report: Report): FuseConf {
  try {
    return parseFuseConf(readFileSync(path, 'utf8'), (text) => report.error(`${path}: ${text}`));
  } catch (error) {
    if (errnoOf(error) !== Errno.ENOENT) report.error(failureText(error, path));
    return DEFAULT_FUSE_CONF;
  }
}

/** Unknown lines are warned about and ignored. */
export function parseFuseConf(text: string, warn: (text: string) => void): FuseConf {
  let { userAllowOther, mountMax } = DEFAULT_FUSE_CONF;
  const openPatterns: OpenPattern[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const setting = line.replace(/#.*/, '').trim();
    if (setting === '') continue;
    const most = /^mount_max\s*=\s*(-1|\d{1,9})$/.exec(setting);
    const open = /^service_open_path\s*=\s*(\S+)\s+(\/.*)$/.exec(setting);
    if (line.length > LINE_CHARACTERS_MAX) warn(`line ${index + 1} is too long`);
    else if (setting === 'user_allow_other') userAllowOther = true;
    else if (most !== null) mountMax = Number(most[1]);
    else if (open !== null) openPatterns.push({ subtype: open[1], pattern: patternOf(open[2]) });
    else warn(`line ${index + 1} is not understood`);
  }
  return { userAllowOther, mountMax, openPatterns };
}

/** `*` stays within one component; a pattern that names a directory covers everything below it. */
function patternOf(glob: string): RegExp {
  const literal = glob.replace(/\/+$/, '').replace(/[.+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${literal.replace(/\*+/g, '[^/]*')}(/.*)?$`, 's');
}

/** Paths with `.` or `..` components never match. */
export function isConfiguredPath(conf: FuseConf, subtype: string, path: string): boolean {
  if (OVERLONG_NAME.test(path) || !path.startsWith('/') || /\/\.{1,2}(\/|$)/.test(path)) return false;
  return conf.openPatterns.some(
    (entry) => (entry.subtype === '*' || entry.subtype === subtype) && entry.pattern.test(path),
  );
}
