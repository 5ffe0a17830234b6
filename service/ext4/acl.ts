/**
 * POSIX ACLs: the compact form on disk (kernel docs: ext4, "Posix ACLs") and the one that user space
 * exchanges (posix_acl_xattr.h).
 */
import { putU16le, putU32le, u16le, u32le, viewOf } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import { CorruptionError, FsError } from './errors.ts';

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

export interface AclEntry {
  readonly tag: number;
  perm: number;
  /** User or group; only meaningful for USER and GROUP. */
  readonly id: number;
}

/** The entries of a list as it is on disk. Throws CorruptionError when it breaks the rules. */
export function accessControlListEntries(disk: Uint8Array, ino: number): AclEntry[] {
  const view = viewOf(disk);
  checkedCount(view, (finding) => new CorruptionError('ACL', finding, { inode: ino }));
  const entries: AclEntry[] = [];
  for (let at: number = DISK.HEADER_SIZE; at < disk.length; ) {
    const tag = u16le(view, at + DISK.tag);
    entries.push({ tag, perm: u16le(view, at + DISK.perm), id: hasId(tag) ? u32le(view, at + DISK.id) : NO_ID });
    at += hasId(tag) ? DISK.LONG_SIZE : DISK.SHORT_SIZE;
  }
  return entries;
}

export function accessControlListToDisk(entries: readonly AclEntry[]): Uint8Array {
  const size = entries.reduce((sum, { tag }) => sum + (hasId(tag) ? DISK.LONG_SIZE : DISK.SHORT_SIZE), 0);
  const disk = new Uint8Array(DISK.HEADER_SIZE + size);
  const view = viewOf(disk);
  putU32le(view, 0, DISK.VERSION);
  let at: number = DISK.HEADER_SIZE;
  for (const { tag, perm, id } of entries) {
    putU16le(view, at + DISK.tag, tag);
    putU16le(view, at + DISK.perm, perm);
    if (hasId(tag)) putU32le(view, at + DISK.id, id);
    at += hasId(tag) ? DISK.LONG_SIZE : DISK.SHORT_SIZE;
  }
  return disk;
}

/** The entries of a list as users give it; none for an empty value. Throws FsError EINVAL or EOPNOTSUPP. */
export function accessControlListFromUser(user: Uint8Array): AclEntry[] {
  const view = viewOf(user);
  const entriesBytes = user.length - USER_FORM.HEADER_SIZE;
  if (user.length === 0) return [];
  if (entriesBytes < 0 || entriesBytes % USER_FORM.ENTRY_SIZE !== 0) {
    throw new FsError(Errno.EINVAL, `an ACL of ${user.length} bytes`);
  }
  if (u32le(view, 0) !== USER_FORM.VERSION) throw new FsError(Errno.EOPNOTSUPP, `ACL version ${u32le(view, 0)}`);
  const entries: AclEntry[] = [];
  for (let at: number = USER_FORM.HEADER_SIZE; at < user.length; at += USER_FORM.ENTRY_SIZE) {
    const tag = u16le(view, at + USER_FORM.tag);
    entries.push({
      tag,
      perm: u16le(view, at + USER_FORM.perm),
      id: hasId(tag) ? u32le(view, at + USER_FORM.id) : NO_ID,
    });
  }
  // What is stored must be readable again: the same rules decide.
  checkedCount(viewOf(accessControlListToDisk(entries)), (finding) => new FsError(Errno.EINVAL, `ACL: ${finding}`));
  return entries;
}

/** Converts, null for a list without entries, which stands for no ACL. Throws when it breaks the rules. */
export function accessControlListToUser(disk: Uint8Array, ino: number): Uint8Array | null {
  const view = viewOf(disk);
  const count = checkedCount(view, (finding) => new CorruptionError('ACL', finding, { inode: ino }));
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
function checkedCount(view: DataView, corrupt: (finding: string) => Error): number {
  const length = view.byteLength;
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
