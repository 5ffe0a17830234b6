import { Errno, SystemError } from '../shared/errno.ts';

/** A parameter of the kernel's fuse type; `value` is null for a bare word. */
export interface KernelOption {
  readonly key: string;
  readonly value: string | null;
}

/** Well below the page that mount(2) has for all options together: what follows ours must never be cut off. */
const OPTIONS_BYTES_MAX = 2000;
/** fsconfig(2) takes no longer strings, and source names come out in one line of the mount table. */
const VALUE_BYTES_MAX = 255;

const WORDS = new Set(['allow_other', 'default_permissions']);
const NUMBERS = new Set(['max_read', 'blksize', 'root_nodeid']);
const TEXTS = new Set(['context', 'fscontext', 'defcontext', 'rootcontext']);

/** Everything the service may set in the kernel. Throws SystemError for the first option that it may not. */
export function checkedKernelOptions(text: string, mayAllowOther: boolean): readonly KernelOption[] {
  if (Buffer.byteLength(text) > OPTIONS_BYTES_MAX) refuse(Errno.EINVAL, 'options', 'too long');
  return splitOutsideQuotes(text)
    .filter((word) => word !== '')
    .map((word) => checkedOption(word, mayAllowOther));
}

function checkedOption(word: string, mayAllowOther: boolean): KernelOption {
  if ((word === 'allow_other' || word === 'allow_root') && !mayAllowOther)
    refuse(Errno.EPERM, word, "only allowed if 'user_allow_other' is set in /etc/fuse.conf");
  if (WORDS.has(word)) return { key: word, value: null };
  const equals = word.indexOf('=');
  const key = word.slice(0, Math.max(equals, 0));
  const value = word.slice(equals + 1).replace(/^"(.*)"$/s, '$1');
  const isGood = NUMBERS.has(key) ? /^\d{1,10}$/.test(value) : TEXTS.has(key) && isPlainText(value, VALUE_BYTES_MAX);
  if (!isGood) refuse(Errno.EINVAL, word, 'mount option is not allowed');
  return { key, value };
}

/** SELinux contexts may hold commas, in double quotes. */
function splitOutsideQuotes(text: string): string[] {
  return text.match(/(?:"[^"]*"|[^,"]|"(?=[^"]*$))+/g) ?? [];
}

/** Short, and safe to print, to pass to other programs, and to stand in the mount table. */
function isPlainText(text: string, bytesMax: number): boolean {
  return text !== '' && Buffer.byteLength(text) <= bytesMax && !/\p{Cc}/u.test(text);
}

/** What the service wants remembered in the mount table: x-* words, and the `user=` that the caller gave himself. */
export function checkedMtabOptions(text: string, callerOptions: ReadonlySet<string>): readonly string[] {
  if (!isPlainText(text, OPTIONS_BYTES_MAX)) refuse(Errno.EINVAL, 'mount table options', 'too long or not printable');
  const words = text.split(',').filter((word) => word !== '');
  for (const word of words)
    if (word !== NO_MTAB && !word.startsWith('x-') && !(word.startsWith('user=') && callerOptions.has(word)))
      refuse(Errno.EINVAL, word, 'does not belong into the mount table');
  return words;
}

/** Among the mount table's options: leave it alone. */
export const NO_MTAB = '-n';

/** The source is what mount tools show and take as an argument. */
export function checkedSource(text: string): string {
  if (!isPlainText(text, VALUE_BYTES_MAX) || text.startsWith('-'))
    refuse(Errno.EINVAL, text, 'unfit as the name of a source');
  return text;
}

function refuse(errno: number, what: string, why: string): never {
  throw new SystemError(errno, 'mount', what, why);
}
