import { Errno } from '../../shared/errno.ts';
import { ACCESS_IN, BMAP_IN, GETXATTR_IN, IOCTL_IN, LSEEK_IN, Opcode, READ_IN, STATX_IN } from './abi.ts';
import type { Operations } from './operations.ts';
import type { Reply } from './reply.ts';
import type { Request } from './request.ts';

/** How one opcode is handled. */
export interface OpcodeRow {
  readonly name: string;
  /** A shorter body is refused before the handler sees it. */
  readonly minBodyBytes: number;
  /** Where the body's name starts, -1 when it has none. */
  readonly nameOffset: number;
  /** FORGET and BATCH_FORGET must not be answered, whatever happens. */
  readonly answered: boolean;
  readonly handle: (operations: Operations, request: Request, reply: Reply) => number;
}

type Handle = OpcodeRow['handle'];

const row = (name: string, minBodyBytes: number, handle: Handle): OpcodeRow => ({
  name,
  minBodyBytes,
  nameOffset: -1,
  answered: true,
  handle,
});
const named = (name: string, nameOffset: number, handle: Handle): OpcodeRow => ({
  name,
  minBodyBytes: nameOffset + 1,
  nameOffset,
  answered: true,
  handle,
});
const forgotten = (name: string): OpcodeRow => ({
  name,
  minBodyBytes: 0,
  nameOffset: -1,
  answered: false,
  handle: succeed,
});

/** Nothing to do: no handles to release, nothing dirty to write, no lookup counts to drop. */
function succeed(): number {
  return Errno.OK;
}

/** The kernel takes this as "never ask again", with a default of its own. */
function notImplemented(): number {
  return Errno.ENOSYS;
}

const modify: Handle = (operations, request, reply) => operations.modify(request, reply);

const rows: readonly (readonly [number, OpcodeRow])[] = [
  [Opcode.LOOKUP, named('LOOKUP', 0, (operations, request, reply) => operations.lookup(request, reply))],
  [Opcode.FORGET, forgotten('FORGET')],
  [Opcode.GETATTR, row('GETATTR', 16, (operations, request, reply) => operations.getattr(request, reply))],
  [Opcode.SETATTR, row('SETATTR', 88, modify)],
  [Opcode.READLINK, row('READLINK', 0, (operations, request, reply) => operations.readlink(request, reply))],
  [Opcode.SYMLINK, row('SYMLINK', 0, modify)],
  [Opcode.MKNOD, row('MKNOD', 16, modify)],
  [Opcode.MKDIR, row('MKDIR', 8, modify)],
  [Opcode.UNLINK, row('UNLINK', 0, modify)],
  [Opcode.RMDIR, row('RMDIR', 0, modify)],
  [Opcode.RENAME, row('RENAME', 8, modify)],
  [Opcode.LINK, row('LINK', 8, modify)],
  [Opcode.OPEN, row('OPEN', 8, (operations, request, reply) => operations.open(request, reply))],
  [Opcode.READ, row('READ', READ_IN.SIZE, (operations, request, reply) => operations.read(request, reply))],
  [Opcode.WRITE, row('WRITE', 40, modify)],
  [Opcode.STATFS, row('STATFS', 0, (operations, request, reply) => operations.statfs(request, reply))],
  [Opcode.RELEASE, row('RELEASE', 24, succeed)],
  [Opcode.FSYNC, row('FSYNC', 16, succeed)],
  [Opcode.SETXATTR, row('SETXATTR', 8, modify)],
  [
    Opcode.GETXATTR,
    named('GETXATTR', GETXATTR_IN.SIZE, (operations, request, reply) => operations.getxattr(request, reply)),
  ],
  [
    Opcode.LISTXATTR,
    row('LISTXATTR', GETXATTR_IN.SIZE, (operations, request, reply) => operations.listxattr(request, reply)),
  ],
  [Opcode.REMOVEXATTR, row('REMOVEXATTR', 0, modify)],
  [Opcode.FLUSH, row('FLUSH', 24, notImplemented)],
  // The session itself negotiates.
  [Opcode.INIT, row('INIT', 8, notImplemented)],
  [Opcode.OPENDIR, row('OPENDIR', 8, (operations, request, reply) => operations.opendir(request, reply))],
  [Opcode.READDIR, row('READDIR', READ_IN.SIZE, (operations, request, reply) => operations.readdir(request, reply))],
  [Opcode.RELEASEDIR, row('RELEASEDIR', 24, succeed)],
  [Opcode.FSYNCDIR, row('FSYNCDIR', 16, succeed)],
  [Opcode.ACCESS, row('ACCESS', ACCESS_IN.SIZE, (operations, request, reply) => operations.access(request, reply))],
  [Opcode.CREATE, row('CREATE', 16, modify)],
  // Every request is answered at once, or by a thread that reads the device and cannot be stopped half way.
  [Opcode.INTERRUPT, row('INTERRUPT', 8, notImplemented)],
  [Opcode.BMAP, row('BMAP', BMAP_IN.SIZE, (operations, request, reply) => operations.bmap(request, reply))],
  [Opcode.DESTROY, row('DESTROY', 0, (operations) => operations.destroy())],
  [Opcode.IOCTL, row('IOCTL', IOCTL_IN.SIZE, (operations, request, reply) => operations.ioctl(request, reply))],
  [Opcode.POLL, row('POLL', 24, notImplemented)],
  [Opcode.BATCH_FORGET, forgotten('BATCH_FORGET')],
  [Opcode.FALLOCATE, row('FALLOCATE', 32, modify)],
  [
    Opcode.READDIRPLUS,
    row('READDIRPLUS', READ_IN.SIZE, (operations, request, reply) => operations.readdirplus(request, reply)),
  ],
  [Opcode.RENAME2, row('RENAME2', 16, modify)],
  [Opcode.LSEEK, row('LSEEK', LSEEK_IN.SIZE, (operations, request, reply) => operations.lseek(request, reply))],
  [Opcode.COPY_FILE_RANGE, row('COPY_FILE_RANGE', 56, modify)],
  [Opcode.SETUPMAPPING, row('SETUPMAPPING', 40, modify)],
  [Opcode.REMOVEMAPPING, row('REMOVEMAPPING', 4, modify)],
  [Opcode.SYNCFS, row('SYNCFS', 8, succeed)],
  [Opcode.TMPFILE, row('TMPFILE', 16, modify)],
  [Opcode.STATX, row('STATX', STATX_IN.SIZE, (operations, request, reply) => operations.statx(request, reply))],
  [Opcode.COPY_FILE_RANGE_64, row('COPY_FILE_RANGE_64', 56, modify)],
];

/** Rows by opcode; null where we know none. */
export const OPCODES: readonly (OpcodeRow | null)[] = (() => {
  const table = new Array<OpcodeRow | null>(Math.max(...rows.map(([opcode]) => opcode)) + 1).fill(null);
  for (const [opcode, entry] of rows) table[opcode] = entry;
  return Object.freeze(table);
})();

/** The row of an opcode from the wire, or null. */
export function opcodeRow(opcode: number): OpcodeRow | null {
  return opcode < OPCODES.length ? OPCODES[opcode] : null;
}
