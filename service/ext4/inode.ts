import { FileType, InodeFlag } from './layout/inode.ts';

/**
 * An inode, decoded once. The bytes of `i_block` and of the in-inode attributes are not copied: they
 * stay in the inode table's cached block, at `tableOffset` bytes of block `tableBlock`.
 *
 * Times are seconds since the epoch (34-bit range) and nanoseconds; `allocatedBlocks512` counts 512-byte units.
 */
export class Inode {
  readonly ino: number;
  tableBlock = 0;
  tableOffset = 0;
  mode = 0;
  uid = 0;
  gid = 0;
  sizeBytes = 0;
  linksCount = 0;
  allocatedBlocks512 = 0;
  flags = 0;
  generation = 0;
  /** Block of extended attributes, 0 when there is none. */
  xattrBlock = 0;
  /** Bytes of the inode in use beyond the first 128: in-inode attributes start at 128 + extraSizeBytes. */
  extraSizeBytes = 0;
  atimeSec = 0;
  atimeNsec = 0;
  mtimeSec = 0;
  mtimeNsec = 0;
  ctimeSec = 0;
  ctimeNsec = 0;
  /** Creation time; meaningful when `hasCrtime`. */
  crtimeSec = 0;
  crtimeNsec = 0;
  hasCrtime = false;
  projectId = 0;
  /** Device number of device files. */
  rdevMajor = 0;
  rdevMinor = 0;
  /** i_version: counts changes; in attribute inodes a part of the reference count. Two halves of 32 bits. */
  versionLow = 0;
  versionHigh = 0;
  /** i_dtime: when the inode was deleted, or, while it is on the orphan list, the number of the next orphan. */
  dtime = 0;

  /** Newest transaction that changed the inode in any way; at least that of its table block after a reading. */
  changedIn = 0;
  /** The same for changes of anything but times: what fdatasync must see committed. */
  dataChangedIn = 0;
  /** The handle in which the inode was last declared as modified (see `InodeTable`). */
  modifiedIn = 0;
  /** For directories: the group that took the last inode which had no room near the directory; -1 for none. */
  overflowGroup = -1;

  constructor(ino: number) {
    this.ino = ino;
  }

  get fileType(): number {
    return this.mode & FileType.MASK;
  }

  get isDirectory(): boolean {
    return this.fileType === FileType.DIRECTORY;
  }

  get isRegular(): boolean {
    return this.fileType === FileType.REGULAR;
  }

  get isSymlink(): boolean {
    return this.fileType === FileType.SYMLINK;
  }

  /** As stat(2) shows it: a file whose data is in the inode must not look like one that is all hole. */
  get blocks512(): number {
    if (!this.isRegular || !this.hasFlag(InodeFlag.INLINE_DATA)) return this.allocatedBlocks512;
    return this.allocatedBlocks512 + Math.ceil(this.sizeBytes / 512);
  }

  /** Takes over everything but the number. */
  copyFrom(other: Inode): void {
    this.tableBlock = other.tableBlock;
    this.tableOffset = other.tableOffset;
    this.mode = other.mode;
    this.uid = other.uid;
    this.gid = other.gid;
    this.sizeBytes = other.sizeBytes;
    this.linksCount = other.linksCount;
    this.allocatedBlocks512 = other.allocatedBlocks512;
    this.flags = other.flags;
    this.generation = other.generation;
    this.xattrBlock = other.xattrBlock;
    this.extraSizeBytes = other.extraSizeBytes;
    this.atimeSec = other.atimeSec;
    this.atimeNsec = other.atimeNsec;
    this.mtimeSec = other.mtimeSec;
    this.mtimeNsec = other.mtimeNsec;
    this.ctimeSec = other.ctimeSec;
    this.ctimeNsec = other.ctimeNsec;
    this.crtimeSec = other.crtimeSec;
    this.crtimeNsec = other.crtimeNsec;
    this.hasCrtime = other.hasCrtime;
    this.projectId = other.projectId;
    this.rdevMajor = other.rdevMajor;
    this.rdevMinor = other.rdevMinor;
    this.versionLow = other.versionLow;
    this.versionHigh = other.versionHigh;
    this.dtime = other.dtime;
    this.changedIn = other.changedIn;
    this.dataChangedIn = other.dataChangedIn;
    this.modifiedIn = other.modifiedIn;
    this.overflowGroup = other.overflowGroup;
  }

  hasFlag(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }
}
