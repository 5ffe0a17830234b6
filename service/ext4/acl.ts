/**
 * POSIX ACLs: the compact form on disk (kernel docs: ext4, "Posix ACLs") and the one that user space
 * exchanges (posix_acl_xattr.h).
 */
import { putU16le, putU32le, u16le, u32le, viewOf } from '../../shared/bytes.ts';
import { CorruptionError } from './errors.ts';

/** On disk: version, then entries of tag and permissions, with an id only where the tag needs one. */
const DISK = Object.freeze({ VERSION: 1, HEADER_SIZE: 4, tag: 0, perm: 2, id: 4, SHORT_SIZE: 4, LONG_SIZE: 8 });

/** For users: version, then entries that all have an id. */
const USER_FORM = Object.freeze({ VERSION: 2, HEADER_SIZE: 4, tag: 0, perm: 2, id: 4, ENTRY_SIZE: 8 });

/** e_tag. */
export const AclTag = Object.freeze({
  USER_OBJ: 0x01,
  USER: 0x02,
  GROUP_OBJ: 0x04,
  GROUP: 0x08,
  MASK: 0x10,
  OTHER: 0x20,
});

const NO_ID = 0xffffffff;
const ALL_PERMISSIONS = 7;

/** Converts, null for a list without entries, which stands for no ACL. Throws when it breaks the rules. */
export function accessControlListToUser(disk: Uint8Array, ino: number): Uint8Array | null {
  const view = viewOf(disk);
  const count = checkedCount(view, ino);
  if (count === 0) return null;
  const user = new Uint8Array(USER_FORM.HEADER_SIZE + count * USER_FORM.ENTRY_SIZE);
  const into = viewOf(user);
  putU32le(into, 0, USER_FORM.VERSION);
  let at: number = DISK.HEADER_SIZE;
  for (let to: number = USER_FORM.HEADER_SIZE; to < user.length; to += USER_FORM.ENTRY_SIZE) {
    const tag = u16le(view, at + DISK.tag);
    putU16le(into, to + USER_FORM.tag, tag);
    putU16le(into, to + USER_FORM.perm, u16le(view, at + DISK.perm));
    putU32le(into, to + USER_FORM.id, hasId(tag) ? u32le(view, at + DISK.id) : NO_ID);
    at += hasId(tag) ? DISK.LONG_SIZE : DISK.SHORT_SIZE;
  }
  return user;
}

const hasId = (tag: number): boolean => tag === AclTag.USER || tag === AclTag.GROUP;

/**
 * Number of entries of a well-formed list: owner, users, owning group, groups, mask, others, in this
 * order; the mask is needed when anybody is named.
 */
function checkedCount(view: DataView, ino: number): number {
  const length = view.byteLength;
  const corrupt = (finding: string): CorruptionError => new CorruptionError('ACL', finding, { inode: ino });
  if (length < DISK.HEADER_SIZE) throw corrupt(`${length} bytes`);
  const version = u32le(view, 0);
  if (version !== DISK.VERSION) throw corrupt(`version ${version}`);
  let count = 0;
  let previous = 0;
  let isNamed = false;
  for (let at: number = DISK.HEADER_SIZE; at < length; count++) {
    if (length - at < DISK.SHORT_SIZE) throw corrupt(`${length - at} bytes left`);
    const tag = u16le(view, at + DISK.tag);
    const perm = u16le(view, at + DISK.perm);
    if (hasId(tag) && (length - at < DISK.LONG_SIZE || u32le(view, at + DISK.id) === NO_ID)) {
      throw corrupt(`entry ${count} without an id`);
    }
    if (!mayFollow(previous, tag, isNamed)) throw corrupt(`tag ${tag} behind ${previous}`);
    if (perm > ALL_PERMISSIONS) throw corrupt(`permissions ${perm}`);
    isNamed ||= hasId(tag);
    previous = tag;
    at += hasId(tag) ? DISK.LONG_SIZE : DISK.SHORT_SIZE;
  }
  if (count > 0 && previous !== AclTag.OTHER) throw corrupt('no entry for others');
  return count;
}

/** `previous` is 0 at the beginning. */
function mayFollow(previous: number, tag: number, isNamed: boolean): boolean {
  switch (tag) {
    case AclTag.USER_OBJ:
      return previous === 0;
    case AclTag.USER:
    case AclTag.GROUP_OBJ:
      return previous === AclTag.USER_OBJ || previous === AclTag.USER;
    case AclTag.GROUP:
    case AclTag.MASK:
      return previous === AclTag.GROUP_OBJ || previous === AclTag.GROUP;
    case AclTag.OTHER:
      return previous === AclTag.MASK || (previous === AclTag.GROUP_OBJ && !isNamed);
    default:
      return false;
  }
}
