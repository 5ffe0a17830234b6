/** Steps for crash workloads: every kind of operation, on a few names so that they meet. */
import type { Inode } from '../../service/ext4/inode.ts';
import { AttributeChange } from '../../service/ext4/namespace/set-attributes.ts';
import { WritePlan } from '../../service/ext4/planned-write.ts';
import { StatFs } from '../../service/ext4/statfs.ts';
import { dataTag, type WorkloadSession, type WorkloadStep } from './crash-explorer.ts';
import type { Prng } from './prng.ts';
import { bytesOf } from './writable-image.ts';

const ROOT = 2;
const PUNCH_HOLE = 3;
const ZERO_RANGE = 0x10;
const COLLAPSE_RANGE = 0x08;
const INSERT_RANGE = 0x20;

/** Looks a path of one or two names up. */
function resolve(session: WorkloadSession, path: string): Inode | null {
  let inode = session.fs.inode(ROOT);
  for (const name of path.split('/')) {
    const bytes = bytesOf(name);
    const ino = inode.isDirectory ? session.fs.lookup(inode, bytes, 0, bytes.length) : 0;
    if (ino === 0) return null;
    inode = session.fs.inode(ino);
  }
  return inode;
}

function split(session: WorkloadSession, path: string): [dir: Inode, name: Uint8Array] | null {
  const slash = path.lastIndexOf('/');
  const dir = slash < 0 ? session.fs.inode(ROOT) : resolve(session, path.slice(0, slash));
  return dir === null || !dir.isDirectory ? null : [dir, bytesOf(path.slice(slash + 1))];
}

const step = (name: string, run: (session: WorkloadSession) => void): WorkloadStep => ({ name, run });

const starting = (inner: WorkloadStep): WorkloadStep => ({ ...inner, startsWrites: true });
const overlapping = (inner: WorkloadStep): WorkloadStep => ({ ...inner, overlapsWrites: true });

const inDirectory = (verb: string, path: string, run: (s: WorkloadSession, dir: Inode, name: Uint8Array) => void) =>
  step(`${verb} ${path}`, (session) => {
    const place = split(session, path);
    if (place !== null) run(session, place[0], place[1]);
  });

const onInode = (verb: string, path: string, run: (s: WorkloadSession, inode: Inode) => void) =>
  step(`${verb} ${path}`, (session) => {
    const inode = resolve(session, path);
    if (inode !== null) run(session, inode);
  });

const onFile = (verb: string, path: string, run: (s: WorkloadSession, inode: Inode) => void) =>
  onInode(verb, path, (session, inode) => {
    if (inode.isRegular) run(session, inode);
  });

/** Contents that tell whose they are, and when and where they were written. */
function content(session: WorkloadSession, owner: Inode, length: number): Uint8Array {
  const fill = session.random.u32();
  const tag = dataTag(owner.ino);
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = tag | (((fill >>> (4 * (at & 7))) ^ (at >>> 9)) & 0x0f);
  return bytes;
}

export const create = (path: string): WorkloadStep =>
  inDirectory('create', path, (s, dir, name) => s.fs.createNode(dir, name, 0, name.length, 0o100644, 0, 0, 0));
export const mkdir = (path: string): WorkloadStep =>
  overlapping(inDirectory('mkdir', path, (s, dir, name) => s.fs.makeDirectory(dir, name, 0, name.length, 0o755, 0)));
export const symlink = (path: string, length: number): WorkloadStep =>
  inDirectory(`symlink of ${length}`, path, (s, dir, name) =>
    s.fs.makeSymlink(dir, name, 0, name.length, bytesOf('t'.repeat(length))),
  );
export const mknod = (path: string): WorkloadStep =>
  inDirectory('mknod', path, (s, dir, name) => s.fs.createNode(dir, name, 0, name.length, 0o020600, 0, 5, 77777));
export const unlink = (path: string): WorkloadStep =>
  inDirectory('unlink', path, (s, dir, name) => {
    s.fs.evict(s.fs.unlink(dir, name, 0, name.length).ino);
  });
/** The inode stays open: it is an orphan from now on. */
export const unlinkOpen = (path: string): WorkloadStep =>
  inDirectory('unlink of open', path, (s, dir, name) => s.fs.unlink(dir, name, 0, name.length));
export const rmdir = (path: string): WorkloadStep =>
  inDirectory('rmdir', path, (s, dir, name) => {
    s.fs.evict(s.fs.removeDirectory(dir, name, 0, name.length).ino);
  });
export const link = (from: string, to: string): WorkloadStep =>
  inDirectory(`link ${from} to`, to, (s, dir, name) => {
    const inode = resolve(s, from);
    if (inode !== null) s.fs.link(inode, dir, name, 0, name.length);
  });
export const rename = (from: string, to: string, flags = 0): WorkloadStep =>
  inDirectory(`rename (${flags}) ${from} to`, to, (s, dir, name) => {
    const place = split(s, from);
    if (place === null) return;
    const victim = s.fs.rename(place[0], place[1], 0, place[1].length, dir, name, 0, name.length, flags);
    if (victim !== null && victim.linksCount === 0) s.fs.evict(victim.ino);
  });
export const temporary = (path: string): WorkloadStep =>
  inDirectory('link of a nameless file to', path, (s, dir, name) => {
    const inode = s.fs.makeTemporary(dir, 0o100600, 0);
    s.fs.writeSmall(inode, 0, content(s, inode, 3000));
    s.fs.link(inode, dir, name, 0, name.length);
  });
export const write = (path: string, offset: number, length: number): WorkloadStep =>
  onFile(`write ${length} at ${offset} to`, path, (s, inode) => {
    s.fs.writeSmall(inode, offset, content(s, inode, length));
  });
/** As native threads do it: the data goes to the device between two handles. */
export const writeDirect = (path: string, block: number, blocks: number): WorkloadStep =>
  onFile(`direct write of ${blocks} blocks at ${block} to`, path, (s, inode) => {
    const { blockSize } = s.fs;
    const bytes = content(s, inode, blocks * blockSize);
    const plan = new WritePlan();
    s.fs.planWrite(inode, block * blockSize, bytes.length, plan);
    let from = 0;
    for (let index = 0; index < plan.segmentCount; index++) {
      const length = plan.segments[2 * index + 1];
      const piece = bytes.subarray(from, from + length);
      const offsetBytes = plan.segments[2 * index];
      s.writeDataNow(offsetBytes, piece);
      from += length;
    }
    if (plan.lengthBytes > 0) s.fs.finishWrite(inode, block * blockSize, plan.lengthBytes);
  });
/** The same for one piece, with other things going on before the data has arrived. */
export const writeInBackground = (path: string, block: number, blocks: number): WorkloadStep =>
  starting(
    onFile(`background write of ${blocks} blocks at ${block} to`, path, (s, inode) => {
      const { blockSize } = s.fs;
      const plan = new WritePlan();
      s.fs.planWrite(inode, block * blockSize, blocks * blockSize, plan);
      if (plan.lengthBytes === 0) return;
      const length = plan.segments[1];
      s.writeData(plan.segments[0], content(s, inode, length), () =>
        s.fs.finishWrite(inode, block * blockSize, length),
      );
    }),
  );
export const truncate = (path: string, size: number): WorkloadStep =>
  onFile(`truncate to ${size}`, path, (s, inode) => {
    const change = new AttributeChange();
    change.sizeBytes = size;
    s.fs.setAttributes(inode, change);
  });
export const chmod = (path: string, mode: number): WorkloadStep =>
  overlapping(
    onInode(`chmod ${mode.toString(8)}`, path, (s, inode) => {
      const change = new AttributeChange();
      change.mode = mode;
      change.uid = mode;
      s.fs.setAttributes(inode, change);
    }),
  );
export const setXattr = (path: string, name: string, length: number): WorkloadStep =>
  onInode(`setxattr ${name} of ${length} on`, path, (s, inode) =>
    s.fs.setXattr(inode, bytesOf(name), content(s, inode, length), 0),
  );
export const removeXattr = (path: string, name: string): WorkloadStep =>
  onInode(`removexattr ${name} of`, path, (s, inode) => s.fs.removeXattr(inode, bytesOf(name)));
const allocateSpace = (verb: string, mode: number) => (path: string, offset: number, length: number) =>
  onFile(`${verb} ${offset}+${length} in`, path, (s, inode) => s.fs.fallocate(inode, mode, offset, length));
export const preallocate = allocateSpace('preallocate', 0);
export const punch = allocateSpace('punch', PUNCH_HOLE);
export const zero = allocateSpace('zero', ZERO_RANGE);
export const collapse = allocateSpace('collapse', COLLAPSE_RANGE);
export const insert = allocateSpace('insert', INSERT_RANGE);
export const sync = (): WorkloadStep => overlapping(step('sync', (session) => session.sync()));
/** fsync as a caller sees it: the next step begins when it has returned. */
export const syncAndWait = (): WorkloadStep => overlapping(step('sync and wait', (session) => session.syncAndWait()));
export const checkpoint = (): WorkloadStep => overlapping(step('checkpoint', (session) => session.fs.checkpointSome()));

/** Many names in a directory, which grows by blocks, and by an index. */
export const populate = (path: string, count: number, nameLength: number): WorkloadStep =>
  onInode(`${count} names of ${nameLength} bytes in`, path, (s, dir) => {
    if (!dir.isDirectory) return;
    const target = s.fs.createNode(dir, bytesOf('n'), 0, 1, 0o100644, 0, 0, 0);
    for (let index = 0; index < count; index++) {
      const name = bytesOf(`${index}`.padStart(nameLength, 'n'));
      s.fs.link(target, dir, name, 0, name.length);
    }
  });
/** Removes what the step above has made, and the directory when it is empty then. */
export const depopulate = (path: string): WorkloadStep =>
  inDirectory('remove all of', path, (s, parent, ownName) => {
    const dir = resolve(s, path);
    if (dir === null || !dir.isDirectory) return;
    for (const name of namesIn(s, dir)) {
      const victim = s.fs.unlink(dir, name, 0, name.length);
      if (victim.linksCount === 0) s.fs.evict(victim.ino);
    }
    s.fs.evict(s.fs.removeDirectory(parent, ownName, 0, ownName.length).ino);
  });

function namesIn(session: WorkloadSession, dir: Inode): Uint8Array[] {
  const names: Uint8Array[] = [];
  session.fs.readDirectory(dir, 0, 0, {
    entry: (_ino, _type, bytes, start, end) => {
      const name = bytes.slice(start, end);
      if (name[0] === 'n'.charCodeAt(0)) names.push(name);
      return true;
    },
  });
  return names;
}

/** A file of scattered blocks, whose map needs blocks of its own. */
export const writeScattered = (path: string, blocks: number): WorkloadStep =>
  onFile(`write ${blocks} scattered blocks to`, path, (s, inode) => {
    for (let block = 0; block < blocks; block++)
      s.fs.writeSmall(inode, block * 2 * s.fs.blockSize, content(s, inode, 100));
  });

/** Fills a file until about so many blocks of the file system are free. */
export const fill = (path: string, freeBlocks: number): WorkloadStep =>
  step(`fill ${path}`, (session) => {
    const { fs } = session;
    create(path).run(session);
    const inode = resolve(session, path);
    if (inode === null) return;
    const free = new StatFs();
    fs.statfs(free, false);
    const bytes = content(session, inode, Math.max(0, free.blocksFree - freeBlocks) * fs.blockSize);
    for (let at = 0; at < bytes.length; ) at += fs.writeSmall(inode, at, bytes.subarray(at));
  });

/** Appends until there is no space, so that what was freed before is used again; within bounds. */
export const gobble = (path: string): WorkloadStep =>
  onFile('use up all space for', path, (s, inode) => {
    for (let count = 0; count < 12; count++) {
      const bytes = content(s, inode, 6 * s.fs.blockSize);
      if (s.fs.writeSmall(inode, inode.sizeBytes, bytes) < bytes.length) return;
    }
  });

/** Every kind of operation once, on names that the set-up of `PREPARATION` provides. */
export const EVERY_OPERATION: readonly WorkloadStep[] = [
  create('new'),
  create('d/new'),
  mkdir('d/sub'),
  mkdir('newdir'),
  symlink('d/short', 20),
  symlink('d/long', 300),
  mknod('d/device'),
  unlink('a'),
  unlink('d/x'),
  unlinkOpen('b'),
  rmdir('e'),
  link('a', 'd/link'),
  rename('a', 'renamed'),
  rename('a', 'b'),
  rename('d', 'e'),
  rename('d/x', 'y'),
  rename('a', 'd/x', 2),
  rename('d', 'a', 2),
  rename('a', 'd/white', 4),
  temporary('d/temporary'),
  write('a', 0, 700),
  write('a', 1000, 5000),
  write('b', 20_000, 3000),
  writeDirect('a', 0, 4),
  writeDirect('b', 6, 9),
  writeInBackground('b', 12, 9),
  truncate('a', 100),
  truncate('a', 0),
  truncate('b', 50_000),
  truncate('big', 5000),
  chmod('a', 0o600),
  chmod('d', 0o2775),
  setXattr('a', 'user.small', 30),
  setXattr('a', 'user.large', 700),
  setXattr('d', 'trusted.of-a-directory', 100),
  removeXattr('b', 'user.here'),
  preallocate('a', 3000, 20_000),
  punch('b', 1500, 4000),
  zero('b', 0, 5000),
  collapse('big', 4096, 4096),
  insert('big', 4096, 8192),
  writeScattered('a', 12),
  unlink('big'),
];

/** What every workload starts from. */
export const PREPARATION: readonly WorkloadStep[] = [
  create('a'),
  write('a', 0, 2500),
  create('b'),
  write('b', 0, 9000),
  setXattr('b', 'user.here', 40),
  mkdir('d'),
  create('d/x'),
  write('d/x', 0, 100),
  mkdir('e'),
  create('big'),
  writeScattered('big', 30),
  write('big', 0, 40_000),
];

const FILES = ['a', 'b', 'big', 'new', 'd/x', 'd/y', 'e/z', 'ballast'] as const;
const DIRECTORIES = ['d', 'e', 'd/s', 'f'] as const;
const PLACES = [...FILES, ...DIRECTORIES, 'd/long', 'e/link'] as const;
const ATTRIBUTES = ['user.here', 'user.a', 'trusted.b', 'security.c'] as const;

type StepMaker = (random: Prng, blockSize: number) => WorkloadStep;

/** Kinds of steps; those named twice are twice as likely. */
const STEP_MAKERS: readonly StepMaker[] = [
  (r) => create(r.pick(PLACES)),
  (r) => create(r.pick(FILES)),
  (r) => mkdir(r.pick(DIRECTORIES)),
  (r) => symlink(r.pick(PLACES), r.pick([10, 59, 60, 200, 900])),
  (r) => mknod(r.pick(PLACES)),
  (r) => unlink(r.pick(PLACES)),
  (r) => unlink(r.pick(FILES)),
  (r) => unlinkOpen(r.pick(FILES)),
  (r) => rmdir(r.pick(DIRECTORIES)),
  (r) => link(r.pick(FILES), r.pick(PLACES)),
  (r) => rename(r.pick(PLACES), r.pick(PLACES), r.pick([0, 0, 0, 2, 4])),
  (r) => temporary(r.pick(FILES)),
  (r, blockSize) => write(r.pick(FILES), r.below(20 * blockSize), 1 + r.below(6 * blockSize)),
  (r) => write(r.pick(FILES), r.below(3000), 1 + r.below(3000)),
  (r) => write(r.pick(FILES), 0, 1 + r.below(200)),
  (r) => writeDirect(r.pick(FILES), r.below(24), 1 + r.below(12)),
  (r) => writeDirect(r.pick(FILES), r.below(4), 1 + r.below(40)),
  (r) => writeInBackground(r.pick(FILES), r.below(24), 1 + r.below(12)),
  (r) => writeInBackground(r.pick(FILES), r.below(4), 1 + r.below(30)),
  (r) => gobble(r.pick(FILES)),
  (r) => gobble(r.pick(FILES)),
  (r) => writeScattered(r.pick(FILES), 4 + r.below(30)),
  (r, blockSize) => truncate(r.pick(FILES), r.below(30 * blockSize)),
  (r) => truncate(r.pick(FILES), 0),
  (r) => chmod(r.pick(PLACES), r.pick([0o600, 0o755, 0o4711])),
  (r) => setXattr(r.pick(PLACES), r.pick(ATTRIBUTES), 1 + r.below(r.pick([40, 700, 3000]))),
  (r) => removeXattr(r.pick(PLACES), r.pick(ATTRIBUTES)),
  (r, blockSize) => preallocate(r.pick(FILES), r.below(20 * blockSize), 1 + r.below(30 * blockSize)),
  (r, blockSize) => punch(r.pick(FILES), r.below(20 * blockSize), 1 + r.below(20 * blockSize)),
  (r, blockSize) => zero(r.pick(FILES), r.below(20 * blockSize), 1 + r.below(20 * blockSize)),
  (r, blockSize) => collapse(r.pick(FILES), r.below(10) * blockSize, (1 + r.below(6)) * blockSize),
  (r, blockSize) => insert(r.pick(FILES), r.below(10) * blockSize, (1 + r.below(6)) * blockSize),
  (r) => populate(r.pick(DIRECTORIES), 1 + r.below(20), r.pick([12, 120])),
  (r) => depopulate(r.pick(DIRECTORIES)),
  () => sync(),
  () => sync(),
  () => syncAndWait(),
  () => syncAndWait(),
  () => checkpoint(),
];

/** Metadata is made, freed, and its place given to data, with or without syncs between. */
function reuse(random: Prng): WorkloadStep[] {
  const file = random.pick(FILES);
  const [make, free] = random.pick<readonly [WorkloadStep, WorkloadStep]>([
    [setXattr(file, 'user.a', 700), removeXattr(file, 'user.a')],
    [populate('d', 18, 120), depopulate('d')],
    [writeScattered(file, 20), truncate(file, 0)],
    [writeScattered(file, 20), unlink(file)],
    [symlink('d/long', 900), unlink('d/long')],
  ]);
  const steps = [make, syncAndWait(), free];
  if (!random.oneIn(3)) steps.push(syncAndWait());
  steps.push(gobble(random.pick(FILES)), random.oneIn(2) ? sync() : syncAndWait());
  return steps;
}

export function randomSteps(random: Prng, count: number, blockSize: number): WorkloadStep[] {
  const steps: WorkloadStep[] = [];
  while (steps.length < count) {
    if (random.oneIn(16)) steps.push(...reuse(random));
    const next = random.pick(STEP_MAKERS)(random, blockSize);
    steps.push(next);
    // What is best done while data is under way.
    if (next.startsWrites === true) steps.push(random.pick([sync(), syncAndWait(), chmod('d', 0o700)]), syncAndWait());
  }
  return steps;
}
