import { Errno } from '../../shared/errno.ts';
import {
  ACCESS_IN,
  BATCH_FORGET_IN,
  BMAP_IN,
  COPY_FILE_RANGE_IN,
  CREATE_IN,
  FALLOCATE_IN,
  FORGET_IN,
  FSYNC_IN,
  GETXATTR_IN,
  IOCTL_IN,
  LINK_IN,
  LSEEK_IN,
  MKDIR_IN,
  MKNOD_IN,
  OPEN_IN,
  Opcode,
  READ_IN,
  RENAME_IN,
  RENAME2_IN,
  SETATTR_IN,
  SETXATTR_IN,
  STATX_IN,
  WRITE_IN,
} from './abi.ts';
import { FREEZE_FS_IN, IOMAP_BEGIN_IN, IOMAP_CONFIG_IN, IOMAP_END_IN, IOMAP_IOEND_IN } from './iomap-abi.ts';
import { IomapOpcode } from './iomap-profile.ts';
import type { IomapOperations, Operations } from './operations.ts';
import type { Reply } from './reply.ts';
import type { Request } from './request.ts';

/** What of a request's body is names: none of it, all the rest, or two of them. */
export const Names = Object.freeze({ NONE: 0, ONE: 1, TWO: 2 });

/** How one opcode is handled. */
export interface OpcodeRow {
  readonly name: string;
  /** A shorter body is refused before the handler sees it. */
  readonly minBodyBytes: number;
  /** One of `Names`; they start at `nameOffset`. */
  readonly names: number;
  readonly nameOffset: number;
  /** FORGET and BATCH_FORGET must not be answered, whatever happens. */
  readonly answered: boolean;
  readonly handle: (operations: Operations, request: Request, reply: Reply) => number;
}

type Handle = OpcodeRow['handle'];

const row = (name: string, minBodyBytes: number, handle: Handle): OpcodeRow => ({
  name,
  minBodyBytes,
  names: Names.NONE,
  nameOffset: 0,
  answered: true,
  handle,
});
const named = (name: string, nameOffset: number, handle: Handle): OpcodeRow => ({
  ...row(name, nameOffset + 1, handle),
  names: Names.ONE,
  nameOffset,
});
const twiceNamed = (name: string, nameOffset: number, handle: Handle): OpcodeRow => ({
  ...row(name, nameOffset + 1, handle),
  names: Names.TWO,
  nameOffset,
});
const unanswered = (name: string, minBodyBytes: number, handle: Handle): OpcodeRow => ({
  ...row(name, minBodyBytes, handle),
  answered: false,
});

type IomapHandle = (iomap: IomapOperations, request: Request, reply: Reply) => number;

/** A request of iomap, which nobody but a kernel with iomap knows. */
const iomap = (name: string, bodyBytes: number, handle: IomapHandle): OpcodeRow =>
  row(name, 0, (ops, request, reply) => {
    if (ops.iomap === null) return Errno.ENOSYS;
    // Anything else is another version of the interface: better nothing than a guess.
    return request.bodyBytes === bodyBytes ? handle(ops.iomap, request, reply) : Errno.EIO;
  });

/** Nothing to do. */
function succeed(): number {
  return Errno.OK;
}

/** The kernel takes this as "never ask again", with a default of its own. */
function notImplemented(): number {
  return Errno.ENOSYS;
}

const rows: readonly (readonly [number, OpcodeRow])[] = [
  [Opcode.LOOKUP, named('LOOKUP', 0, (ops, request, reply) => ops.lookup(request, reply))],
  [Opcode.FORGET, unanswered('FORGET', FORGET_IN.SIZE, (ops, request, reply) => ops.forget(request, reply))],
  [Opcode.GETATTR, row('GETATTR', 16, (ops, request, reply) => ops.getattr(request, reply))],
  [Opcode.SETATTR, row('SETATTR', SETATTR_IN.SIZE, (ops, request, reply) => ops.setattr(request, reply))],
  [Opcode.READLINK, row('READLINK', 0, (ops, request, reply) => ops.readlink(request, reply))],
  [Opcode.SYMLINK, twiceNamed('SYMLINK', 0, (ops, request, reply) => ops.symlink(request, reply))],
  [Opcode.MKNOD, named('MKNOD', MKNOD_IN.SIZE, (ops, request, reply) => ops.mknod(request, reply))],
  [Opcode.MKDIR, named('MKDIR', MKDIR_IN.SIZE, (ops, request, reply) => ops.mkdir(request, reply))],
  [Opcode.UNLINK, named('UNLINK', 0, (ops, request, reply) => ops.unlink(request, reply))],
  [Opcode.RMDIR, named('RMDIR', 0, (ops, request, reply) => ops.rmdir(request, reply))],
  [Opcode.RENAME, twiceNamed('RENAME', RENAME_IN.SIZE, (ops, request, reply) => ops.rename(request, reply))],
  [Opcode.LINK, named('LINK', LINK_IN.SIZE, (ops, request, reply) => ops.link(request, reply))],
  [Opcode.OPEN, row('OPEN', OPEN_IN.SIZE, (ops, request, reply) => ops.open(request, reply))],
  [Opcode.READ, row('READ', READ_IN.SIZE, (ops, request, reply) => ops.read(request, reply))],
  [Opcode.WRITE, row('WRITE', WRITE_IN.SIZE, (ops, request, reply) => ops.write(request, reply))],
  [Opcode.STATFS, row('STATFS', 0, (ops, request, reply) => ops.statfs(request, reply))],
  [Opcode.RELEASE, row('RELEASE', 24, (ops, request, reply) => ops.release(request, reply))],
  [Opcode.FSYNC, row('FSYNC', FSYNC_IN.SIZE, (ops, request, reply) => ops.fsync(request, reply))],
  // The name starts behind a header whose length was negotiated.
  [Opcode.SETXATTR, row('SETXATTR', SETXATTR_IN.SIZE_COMPAT, (ops, request, reply) => ops.setxattr(request, reply))],
  [Opcode.GETXATTR, named('GETXATTR', GETXATTR_IN.SIZE, (ops, request, reply) => ops.getxattr(request, reply))],
  [Opcode.LISTXATTR, row('LISTXATTR', GETXATTR_IN.SIZE, (ops, request, reply) => ops.listxattr(request, reply))],
  [Opcode.REMOVEXATTR, named('REMOVEXATTR', 0, (ops, request, reply) => ops.removexattr(request, reply))],
  [Opcode.FLUSH, row('FLUSH', 24, notImplemented)],
  // The session itself negotiates.
  [Opcode.INIT, row('INIT', 8, notImplemented)],
  [Opcode.OPENDIR, row('OPENDIR', 8, (ops, request, reply) => ops.opendir(request, reply))],
  [Opcode.READDIR, row('READDIR', READ_IN.SIZE, (ops, request, reply) => ops.readdir(request, reply))],
  [Opcode.RELEASEDIR, row('RELEASEDIR', 24, succeed)],
  [Opcode.FSYNCDIR, row('FSYNCDIR', FSYNC_IN.SIZE, (ops, request, reply) => ops.fsyncdir(request, reply))],
  [Opcode.ACCESS, row('ACCESS', ACCESS_IN.SIZE, (ops, request, reply) => ops.access(request, reply))],
  [Opcode.CREATE, named('CREATE', CREATE_IN.SIZE, (ops, request, reply) => ops.create(request, reply))],
  // What is answered late is under way in a thread already and cannot be stopped half way.
  [Opcode.INTERRUPT, row('INTERRUPT', 8, notImplemented)],
  [Opcode.BMAP, row('BMAP', BMAP_IN.SIZE, (ops, request, reply) => ops.bmap(request, reply))],
  [Opcode.DESTROY, row('DESTROY', 0, (ops, request) => ops.destroy(request))],
  [Opcode.IOCTL, row('IOCTL', IOCTL_IN.SIZE, (ops, request, reply) => ops.ioctl(request, reply))],
  [Opcode.POLL, row('POLL', 24, notImplemented)],
  [
    Opcode.BATCH_FORGET,
    unanswered('BATCH_FORGET', BATCH_FORGET_IN.SIZE, (ops, request, reply) => ops.batchForget(request, reply)),
  ],
  [Opcode.FALLOCATE, row('FALLOCATE', FALLOCATE_IN.SIZE, (ops, request, reply) => ops.fallocate(request, reply))],
  [Opcode.READDIRPLUS, row('READDIRPLUS', READ_IN.SIZE, (ops, request, reply) => ops.readdirplus(request, reply))],
  [Opcode.RENAME2, twiceNamed('RENAME2', RENAME2_IN.SIZE, (ops, request, reply) => ops.rename2(request, reply))],
  [Opcode.LSEEK, row('LSEEK', LSEEK_IN.SIZE, (ops, request, reply) => ops.lseek(request, reply))],
  [
    Opcode.COPY_FILE_RANGE,
    row('COPY_FILE_RANGE', COPY_FILE_RANGE_IN.SIZE, (ops, request, reply) => ops.copyFileRange(request, reply)),
  ],
  // For DAX on virtiofs.
  [Opcode.SETUPMAPPING, row('SETUPMAPPING', 40, notImplemented)],
  [Opcode.REMOVEMAPPING, row('REMOVEMAPPING', 4, notImplemented)],
  [Opcode.SYNCFS, row('SYNCFS', 8, (ops, request, reply) => ops.syncfs(request, reply))],
  [Opcode.TMPFILE, named('TMPFILE', CREATE_IN.SIZE, (ops, request, reply) => ops.tmpfile(request, reply))],
  [Opcode.STATX, row('STATX', STATX_IN.SIZE, (ops, request, reply) => ops.statx(request, reply))],
  [
    Opcode.COPY_FILE_RANGE_64,
    row('COPY_FILE_RANGE_64', COPY_FILE_RANGE_IN.SIZE, (ops, request, reply) => ops.copyFileRange64(request, reply)),
  ],
];

/** For connections with iomap, whose requests have these sizes exactly. */
const iomapRows: readonly (readonly [number, OpcodeRow])[] = [
  [IomapOpcode.FREEZE_FS, iomap('FREEZE_FS', FREEZE_FS_IN.SIZE, (ops, request) => ops.freeze(request))],
  [IomapOpcode.UNFREEZE_FS, iomap('UNFREEZE_FS', 0, (ops) => ops.thaw())],
  [IomapOpcode.SHUTDOWN_FS, iomap('SHUTDOWN_FS', 8, (ops) => ops.shutdown())],
  [
    IomapOpcode.IOMAP_CONFIG,
    iomap('IOMAP_CONFIG', IOMAP_CONFIG_IN.SIZE, (ops, request, reply) => ops.config(request, reply)),
  ],
  [
    IomapOpcode.IOMAP_IOEND,
    iomap('IOMAP_IOEND', IOMAP_IOEND_IN.SIZE, (ops, request, reply) => ops.ioend(request, reply)),
  ],
  [
    IomapOpcode.IOMAP_BEGIN,
    iomap('IOMAP_BEGIN', IOMAP_BEGIN_IN.SIZE, (ops, request, reply) => ops.begin(request, reply)),
  ],
  // Nothing has to be done at the end of a mapping's use; the kernel then stops asking.
  [IomapOpcode.IOMAP_END, iomap('IOMAP_END', IOMAP_END_IN.SIZE, notImplemented)],
];

const ORDINARY_SLOTS = Math.max(...rows.map(([opcode]) => opcode)) + 1;
const FIRST_IOMAP_OPCODE = Math.min(...iomapRows.map(([opcode]) => opcode));
const SLOTS = ORDINARY_SLOTS + iomapRows.length;

/** Rows by slot; null where we know none. Slot 0 is no opcode. */
export const OPCODES: readonly (OpcodeRow | null)[] = (() => {
  const table = new Array<OpcodeRow | null>(SLOTS).fill(null);
  for (const [opcode, entry] of [...rows, ...iomapRows]) table[opcodeSlot(opcode)] = entry;
  return Object.freeze(table);
})();

/** The place of an opcode from the wire in the table; 0 for one that can't be there. */
export function opcodeSlot(opcode: number): number {
  if (opcode < ORDINARY_SLOTS) return opcode;
  const slot = opcode - FIRST_IOMAP_OPCODE + ORDINARY_SLOTS;
  return slot >= ORDINARY_SLOTS && slot < SLOTS ? slot : 0;
}
