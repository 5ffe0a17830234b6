/** The beginnings of attribute names, which are stored as one byte. */
import { XattrIndex } from './layout/xattr.ts';

/** One beginning. `isWhole`: nothing may follow it. */
class NamePrefix {
  readonly index: number;
  readonly bytes: Uint8Array;
  readonly isWhole: boolean;

  constructor(index: number, text: string, isWhole: boolean) {
    this.index = index;
    this.bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    this.isWhole = isWhole;
  }

  startsName(name: Uint8Array): boolean {
    const { bytes } = this;
    if (name.length < bytes.length || (this.isWhole && name.length !== bytes.length)) return false;
    for (let at = 0; at < bytes.length; at++) {
      if (name[at] !== bytes[at]) return false;
    }
    return true;
  }
}

/**
 * What users can get and see. The other indexes (system., where inline data is; richacl; the encryption
 * context) have no name outside of the file system.
 */
const PREFIXES: readonly NamePrefix[] = Object.freeze([
  new NamePrefix(XattrIndex.SECURITY, 'security.', false),
  new NamePrefix(XattrIndex.USER, 'user.', false),
  new NamePrefix(XattrIndex.POSIX_ACL_ACCESS, 'system.posix_acl_access', true),
  new NamePrefix(XattrIndex.POSIX_ACL_DEFAULT, 'system.posix_acl_default', true),
  new NamePrefix(XattrIndex.TRUSTED, 'trusted.', false),
  new NamePrefix(XattrIndex.HURD, 'gnu.', false),
]);

/** The prefix that a full name begins with, or null. */
export function prefixOfName(name: Uint8Array): NamePrefix | null {
  for (const prefix of PREFIXES) {
    if (prefix.startsName(name)) return prefix;
  }
  return null;
}

/** The prefix behind e_name_index, or null when names of this index are not shown. */
export function prefixOfIndex(index: number): NamePrefix | null {
  for (const prefix of PREFIXES) {
    if (prefix.index === index) return prefix;
  }
  return null;
}

export type { NamePrefix };
