/** Tags of the entries of a POSIX ACL (linux/posix_acl.h). */
export const AclTag = Object.freeze({ USER_OBJ: 1, USER: 2, GROUP_OBJ: 4, GROUP: 8, MASK: 0x10, OTHER: 0x20 });

export const ACL_NO_ID = 0xffffffff;

export type AclEntry = readonly [tag: number, permissions: number, id: number];

/** Value of system.posix_acl_*: version 2, then 8 bytes per entry (linux/posix_acl_xattr.h). */
export function aclValue(entries: readonly AclEntry[]): Buffer {
  const value = new DataView(new ArrayBuffer(4 + 8 * entries.length));
  value.setUint32(0, 2, true);
  entries.forEach(([tag, permissions, id], i) => {
    value.setUint16(4 + 8 * i, tag, true);
    value.setUint16(6 + 8 * i, permissions, true);
    value.setUint32(8 + 8 * i, id, true);
  });
  return Buffer.from(value.buffer);
}
