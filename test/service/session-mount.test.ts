import { execFileSync } from 'node:child_process';
import { lchownSync, linkSync, lutimesSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ImageDirectory } from '../support/ext4-image.ts';
import { SessionMount } from '../support/session-mount.ts';

const images = new ImageDirectory();
const tree = images.file('tree');
let mount: SessionMount;

/** A tree with one of everything, which mke2fs copies into the image. */
function populate(): void {
  mkdirSync(join(tree, 'sub', 'deeper'), { recursive: true });
  mkdirSync(join(tree, 'many'));
  for (let index = 0; index < 3000; index++) writeFileSync(join(tree, 'many', `file-${index}`), `content ${index}\n`);
  writeFileSync(join(tree, 'hello'), 'hello, world\n');
  writeFileSync(join(tree, 'large'), Buffer.alloc(3_000_000, 'abcdefg'));
  writeFileSync(join(tree, 'sparse'), 'begin');
  truncateSync(join(tree, 'sparse'), 10 * 2 ** 20);
  linkSync(join(tree, 'hello'), join(tree, 'sub', 'hard link'));
  symlinkSync('../hello', join(tree, 'sub', 'fast'));
  symlinkSync('x'.repeat(200), join(tree, 'sub', 'slow'));
  writeFileSync(join(tree, 'sub', 'owned'), '');
  lchownSync(join(tree, 'sub', 'owned'), 70000, 80000);
  lutimesSync(join(tree, 'sub', 'owned'), 1_000_000_000, 1_100_000_000);
  execFileSync('mknod', [join(tree, 'sub', 'device'), 'b', '259', '300000']);
  execFileSync('mkfifo', [join(tree, 'sub', 'fifo')]);
  execFileSync('setfattr', ['-n', 'user.note', '-v', 'a value', join(tree, 'hello')]);
  execFileSync('setfattr', ['-n', 'trusted.secret', '-v', 's', join(tree, 'hello')]);
}

const FIND_FORMAT = '%P|%y|%m|%U|%G|%s|%T@|%n|%l\n';
const sortedLines = (text: string): string[] => text.split('\n').sort();

beforeAll(() => {
  mkdirSync(tree);
  populate();
  const image = images.make(64 * 2 ** 20, ['-d', tree, '-L', 'a label', '-b', '4096', '-O', '^has_journal']);
  mount = new SessionMount(image);
});

afterAll(async () => {
  await mount.unmount();
  images.remove();
});

describe('a session on a real mount', () => {
  it('shows the tree that the image was made from', async () => {
    const ours = await mount.run(
      'find',
      '.',
      '-mindepth',
      '1',
      '!',
      '-name',
      'lost+found',
      '!',
      '-type',
      'd',
      '-printf',
      FIND_FORMAT,
    );
    const theirs = execFileSync('find', [tree, '-mindepth', '1', '!', '-type', 'd', '-printf', FIND_FORMAT], {
      encoding: 'latin1',
    });
    const seconds = (text: string): string[] => sortedLines(text.replaceAll(/(\d+)\.\d+\|/g, '$1|'));
    expect(seconds(ours)).toEqual(seconds(theirs));
  });

  it('gives back the content of files, also when read past the page cache', async () => {
    const sum = (file: string): string =>
      execFileSync('sha256sum', [join(tree, file)], { encoding: 'latin1' }).slice(0, 64);
    for (const file of ['hello', 'large', 'sparse', 'many/file-2999']) {
      expect((await mount.run('sha256sum', file)).slice(0, 64), file).toBe(sum(file));
    }
    const direct = await mount.shell('dd if=large iflag=direct bs=1M status=none | sha256sum');
    expect(direct.slice(0, 64)).toBe(sum('large'));
  });

  it('shows root as inode 2 and device numbers as they are', async () => {
    expect(await mount.run('stat', '-c', '%i %h %F', '.')).toBe('2 5 directory\n');
    expect(await mount.run('stat', '-c', '%t:%T %F', 'sub/device')).toBe('103:493e0 block special file\n');
    expect(await mount.run('stat', '-f', '-c', '%s %S %l %T', '.')).toMatch(/^4096 4096 255 fuse(blk)?\n$/);
  });

  it('lists extended attributes and their values', async () => {
    expect(await mount.run('getfattr', '-d', '-m', '-', 'hello')).toBe(
      '# file: hello\ntrusted.secret="s"\nuser.note="a value"\n\n',
    );
    expect(await mount.shell('getfattr -n user.absent hello')).toContain('No such attribute');
    expect(await mount.shell('setpriv --reuid 65534 --clear-groups getfattr -d -m - hello')).not.toContain('trusted');
  });

  it('answers lsattr', async () => {
    expect(await mount.run('lsattr', '-d', 'hello', '.')).toMatch(/^-+e-+ hello\n-+e-+ \.\n$/);
    expect(await mount.run('lsattr', '-v', 'hello')).toMatch(/^\d+ +-+e-+ hello\n$/);
    expect(await mount.run('lsattr', '-p', '-d', 'sub')).toMatch(/^ +0 -+e-+ sub\n$/);
  });

  it('refuses all that would change something', async () => {
    const script = [
      'touch new; rm hello; mkdir d; mv hello h2; chmod 600 hello',
      'echo x >> hello; ln hello h3; setfattr -n user.x -v y hello',
    ].join('\n');
    const lines = (await mount.shell(script)).trim().split('\n');
    expect(lines.length).toBe(8);
    for (const line of lines) expect(line).toContain('Read-only file system');
  });

  it('is asked for no open, and reads a file again from the page cache', async () => {
    await mount.run('cat', 'large');
    const [opens, reads] = [mount.requests('OPEN'), mount.requests('READ')];
    expect(opens).toBe(1);
    expect(reads).toBeGreaterThan(0);
    await mount.run('cat', 'large');
    expect([mount.requests('OPEN'), mount.requests('READ')]).toEqual([opens, reads]);
    expect(mount.requests('FLUSH')).toBeLessThanOrEqual(1);
    expect(mount.requests('RELEASE')).toBe(0);
  });

  it('is asked once for what was looked up, whether it exists or not', async () => {
    await mount.shell('stat many/file-7 many/absent');
    const before = mount.requests('LOOKUP') + mount.requests('GETATTR');
    await mount.shell('stat many/file-7 many/absent');
    expect(mount.requests('LOOKUP') + mount.requests('GETATTR')).toBe(before);
  });

  it('fills names and attributes by READDIRPLUS, and caches the listing', async () => {
    await mount.shell('echo 3 > /proc/sys/vm/drop_caches');
    const before = { lookups: mount.requests('LOOKUP'), getattrs: mount.requests('GETATTR') };
    const listed = await mount.run('ls', '-l', 'many');
    expect(listed.split('\n').length).toBe(3002);
    expect(mount.requests('LOOKUP') - before.lookups).toBeLessThan(10);
    expect(mount.requests('GETATTR') - before.getattrs).toBeLessThan(10);
    expect(mount.requests('READDIRPLUS')).toBeGreaterThan(10);
    await mount.run('ls', 'many');
    await mount.run('ls', 'many');
    const cached = mount.requests('READDIRPLUS') + mount.requests('READDIR');
    await mount.run('ls', 'many');
    expect(mount.requests('READDIRPLUS') + mount.requests('READDIR')).toBe(cached);
  });

  it('reads no inodes for a listing of names only', async () => {
    await mount.shell('echo 3 > /proc/sys/vm/drop_caches');
    const before = mount.requests('READDIR');
    await mount.run('ls', '-U', 'many');
    expect(mount.requests('READDIR')).toBeGreaterThan(before);
  });

  it('has birth times', async () => {
    expect(await mount.run('stat', '-c', '%W', 'hello')).toMatch(/^[1-9]\d+\n$/);
  });

  it('has logged nothing', () => {
    expect(mount.log.lines).toEqual([]);
  });
});
