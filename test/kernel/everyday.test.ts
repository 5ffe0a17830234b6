import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { type Fuse4fsMount, mountFuse4fs } from '../support/fuse4fs-mount.ts';
import { makeImage } from '../support/kernel-image.ts';
import { run, TestRoom } from '../support/test-room.ts';
import { compareSnapshots, fieldsOf, takeSnapshot } from '../support/tree-snapshot.ts';
import { e2fsckComplaints } from '../support/writable-image.ts';

/** Programs that people use, on a mount that is written. */
const room = new TestRoom('everyday');

let image = '';
let mount: Fuse4fsMount;
let root = '';

beforeEach(async () => {
  image = makeImage(room, 'everyday.img', { sizeBytes: 512 * 2 ** 20, mkfs: ['-t', 'ext4'] });
  mount = await mountFuse4fs(room, image, 'rw,acl,suid,dev');
  root = mount.mountPoint;
});

afterEach(() => room.reset());
afterAll(() => room.clear());

async function unmountSound(): Promise<void> {
  await mount.unmount();
  expect(e2fsckComplaints(image)).toBe('');
  expect(room.leaks()).toEqual([]);
}

/** A command in a directory, with settings of nobody. */
function runIn(directory: string, command: string, ...args: string[]): string {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, {
    cwd: directory,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    env: {
      PATH: process.env.PATH,
      HOME: room.directory,
      LC_ALL: 'C',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_AUTHOR_NAME: 'a',
      GIT_AUTHOR_EMAIL: 'a@localhost',
      GIT_COMMITTER_NAME: 'c',
      GIT_COMMITTER_EMAIL: 'c@localhost',
    },
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${signal ?? status}: ${stdout}${stderr}`);
  return stdout;
}

/** Sources of a small program of several files. */
function writeProgram(directory: string, modules: number): void {
  mkdirSync(directory);
  const numbers = Array.from({ length: modules }, (_, nr) => nr);
  for (const nr of numbers) {
    const body = `return ${nr === 0 ? '1' : `f${nr - 1}(x)`} + x * ${nr};`;
    const before = nr === 0 ? '' : `int f${nr - 1}(int x);\n`;
    writeFileSync(join(directory, `m${nr}.c`), `${before}int f${nr}(int x)\n{\n\t${body}\n}\n`);
  }
  const last = modules - 1;
  const body = `\tprintf("%d\\n", f${last}(2));\n\treturn 0;\n`;
  const main = `#include <stdio.h>\nint f${last}(int x);\nint main(void)\n{\n${body}}\n`;
  writeFileSync(join(directory, 'main.c'), main);
  const objects = ['main.o', ...numbers.map((nr) => `m${nr}.o`)].join(' ');
  const link = `program: libm.a main.o\n\tgcc -o $@ main.o libm.a\n`;
  const archive = `libm.a: ${objects.replace('main.o ', '')}\n\tar rcs $@ $^\n`;
  writeFileSync(join(directory, 'Makefile'), `CFLAGS = -g -O1\n${link}${archive}clean:\n\trm -f program libm.a *.o\n`);
}

/** What names hold, not where: times of change, inode numbers and the like differ between copies. */
const NOT_COPIED = ['ino', 'ctime', 'btime', 'atime', 'blocks', 'blksize', 'generation', 'dirent', 'dirent:.'];

async function copiedTree(directory: string): Promise<Map<string, string>> {
  const tree = new Map<string, string>();
  for (const [path, line] of await takeSnapshot(directory)) {
    if (path === '') continue;
    const kept = [...fieldsOf(line)].filter(
      ([name]) => !NOT_COPIED.includes(name) && !name.startsWith('dirent') && name !== 'data' && name !== 'flags',
    );
    tree.set(path, kept.map(([name, value]) => `${name}=${value}`).join('\t'));
  }
  return tree;
}

/** A tree with links, attributes, access control lists, owners, devices and holes. */
function makeRichTree(directory: string): void {
  const script = [
    'mkdir -p sub/deep/er many acl',
    'for i in $(seq 300); do echo "file $i" > many/file-$i; done',
    'ln many/file-1 sub/link && ln -s ../many/file-2 sub/symlink && ln -s "$(printf %0200d 1)" sub/long-symlink',
    'truncate -s 3M sub/sparse && echo end >> sub/sparse',
    'head -c 1500000 /dev/urandom > sub/large',
    'mkfifo sub/fifo && mknod sub/device c 1 3',
    'chown 1000:1001 sub/large && chmod 4755 many/file-3 && chmod 1777 sub/deep',
    'setfattr -n user.short -v value sub/large && setfattr -n user.long -v "$(printf %02000d 7)" many/file-4',
    'setfattr -n trusted.mark -v yes many/file-5 && setfattr -n user.dir -v d sub/deep',
    'touch acl/file && setfacl -m u:1000:rwx,g:1001:r acl/file',
    'setfacl -d -m u:1000:rwx acl && echo x > acl/inherits',
    'touch -d "2001-02-03 04:05:06.789" sub/large && touch -h -d "1999-01-01" sub/symlink',
  ];
  mkdirSync(directory);
  runIn(directory, 'sh', '-ec', script.join('\n'));
}

test('git clones, commits, repacks and finds nothing wrong', async () => {
  const origin = join(room.directory, 'origin');
  writeProgram(origin, 40);
  runIn(origin, 'git', 'init', '-q', '.');
  for (let nr = 0; nr < 5; nr++) {
    writeFileSync(join(origin, `note-${nr}`), `note ${nr}\n`.repeat(200 + nr));
    runIn(origin, 'git', 'add', '.');
    runIn(origin, 'git', 'commit', '-qm', `commit ${nr}`);
  }
  runIn(root, 'git', 'clone', '-q', '--no-local', origin, 'clone');
  const clone = join(root, 'clone');
  expect(runIn(clone, 'git', 'status', '--porcelain')).toBe('');
  writeFileSync(join(clone, 'note-1'), 'changed\n');
  runIn(clone, 'git', 'mv', 'note-2', 'moved');
  runIn(clone, 'git', 'checkout', '-q', '-b', 'branch');
  runIn(clone, 'git', 'commit', '-qam', 'on the mount');
  runIn(clone, 'git', 'checkout', '-q', 'HEAD~2');
  runIn(clone, 'git', 'checkout', '-q', 'branch');
  runIn(clone, 'git', 'gc', '-q', '--prune=now');
  expect(runIn(clone, 'git', 'fsck', '--full', '--strict')).toBe('');
  expect(runIn(clone, 'git', 'log', '--oneline').trim().split('\n')).toHaveLength(6);
  await unmountSound();
});

test.each(['delete', 'wal', 'truncate', 'persist'])('sqlite keeps its tables whole in %s mode', async (mode) => {
  const database = join(root, 'data.db');
  const statements = [
    `pragma journal_mode=${mode};`,
    'create table t(id integer primary key, name text, body blob);',
    'create index by_name on t(name);',
    ...Array.from(
      { length: 60 },
      (_, nr) => `insert into t(name, body) values('n${nr % 17}', randomblob(${nr * 53}));`,
    ),
    'begin;',
    'with recursive c(x) as (select 1 union all select x+1 from c where x<3000) insert into t(name) select x from c;',
    'commit;',
    'begin; delete from t; rollback;',
    "update t set body = zeroblob(500) where name like 'n1%';",
    'delete from t where id % 3 = 0;',
    'vacuum;',
  ];
  const sqlite = ['-bail', database];
  run('sqlite3', sqlite, statements.join('\n'));
  expect(run('sqlite3', sqlite, 'pragma integrity_check;').trim()).toBe('ok');
  const count = run('sqlite3', sqlite, 'select count(*) from t;').trim();
  expect(count).toBe('2040');
  await unmountSound();
  const again = await mountFuse4fs(room, image, 'ro');
  const uri = `file:${join(again.mountPoint, 'data.db')}?immutable=1`;
  expect(run('sqlite3', [uri], 'pragma integrity_check; select count(*) from t;').split('\n')).toEqual([
    'ok',
    count,
    '',
  ]);
  await again.unmount();
});

test('tar packs and unpacks everything, attributes and access control lists included', async () => {
  makeRichTree(join(root, 'tree'));
  const tar = ['--xattrs', '--xattrs-include=*', '--acls', '--numeric-owner', '--format=posix'];
  const archive = join(root, 'tree.tar');
  runIn(root, 'tar', ...tar, '--sparse', '-cf', archive, '-C', join(root, 'tree'), '.');
  mkdirSync(join(root, 'copy'));
  runIn(root, 'tar', ...tar, '-xpf', archive, '-C', join(root, 'copy'));
  expect(compareSnapshots(await copiedTree(join(root, 'tree')), await copiedTree(join(root, 'copy')))).toEqual([]);
  await unmountSound();
});

test('rsync copies everything at once, and nothing a second time', async () => {
  makeRichTree(join(room.directory, 'rsync-tree'));
  const rsync = ['-aHAX', '--sparse', '--numeric-ids', '--itemize-changes', '--modify-window=-1'];
  const from = `${join(room.directory, 'rsync-tree')}/`;
  expect(runIn(root, 'rsync', ...rsync, from, 'there/').split('\n').length).toBeGreaterThan(300);
  expect(runIn(root, 'rsync', ...rsync, from, 'there/')).toBe('');
  expect(runIn(root, 'rsync', ...rsync, '--checksum', 'there/', 'again/').split('\n').length).toBeGreaterThan(300);
  expect(runIn(root, 'rsync', ...rsync, '--checksum', 'there/', 'again/')).toBe('');
  expect(compareSnapshots(await copiedTree(from), await copiedTree(join(root, 'again')))).toEqual([]);
  await unmountSound();
});

test('make builds a program of several files, and knows what to build again', async () => {
  const directory = join(root, 'program');
  writeProgram(directory, 12);
  runIn(directory, 'make', '-s', '-j2');
  expect(runIn(directory, './program')).toBe('133\n');
  expect(runIn(directory, 'make', '-q')).toBe('');
  writeFileSync(join(directory, 'm3.c'), readFileSync(join(directory, 'm3.c'), 'utf8').replace('* 3', '* 4'));
  runIn(directory, 'make', '-s');
  expect(runIn(directory, './program')).toBe('135\n');
  runIn(directory, 'make', '-s', 'clean');
  await unmountSound();
});

const FIO_JOBS: readonly (readonly [name: string, ...args: string[]])[] = [
  ['mmap', '--ioengine=mmap', '--rw=randwrite', '--bs=4k'],
  ['direct, synchronous', '--ioengine=psync', '--direct=1', '--rw=randwrite', '--bs=4k'],
  ['direct, asynchronous', '--ioengine=libaio', '--direct=1', '--iodepth=16', '--rw=randwrite', '--bs=4k-64k'],
  ['buffered, odd sizes', '--ioengine=psync', '--rw=randwrite', '--bs=1k-37k', '--bs_unaligned'],
  ['buffered with fsync', '--ioengine=psync', '--rw=write', '--bs=16k', '--fsync=20'],
];

test.each(FIO_JOBS)('fio reads what it wrote: %s', async (_, ...args) => {
  const job = ['--name=job', '--size=24m', '--verify=crc32c', '--verify_fatal=1', '--do_verify=1', '--minimal'];
  runIn(root, 'fio', ...job, ...args, '--directory=.');
  await unmountSound();
});
