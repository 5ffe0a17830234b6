import { describe, expect, it } from 'vitest';
import { CallerWords } from '../../helper/caller-words.ts';
import { HelpRequest, parseCommandLine, UsageError } from '../../helper/command-line.ts';
import { socketPathOf, subtypeOf } from '../../helper/connect.ts';
import { isConfiguredPath, parseFuseConf } from '../../helper/fuse-conf.ts';
import { toByteString } from '../../shared/service-protocol/byte-string.ts';

const parse = (...args: string[]) => parseCommandLine('fuservicemount', args);
const parseForMount = (program: string, ...args: string[]) => parseCommandLine(program, args);

describe('the command line', () => {
  it('goes to the service without its type and without switches for us', () => {
    expect(parse('/dev/sda', '/mnt', '-t', 'fuse.ext4', '-fnv', '-o', 'ro', '-o', 'a=b\\,c')).toEqual({
      type: 'fuse.ext4',
      words: ['/dev/sda', '/mnt', '-o', 'ro,a=b\\,c'],
      unmount: false,
      lazy: false,
      reap: false,
      check: false,
      fake: true,
      verbose: true,
      updateMtab: false,
    });
  });

  it('to unmount is -u with a mount point and no type', () => {
    expect(parse('-u', '/mnt')).toMatchObject({ unmount: true, lazy: false, words: ['/mnt'] });
    expect(parse('-uz', '/mnt')).toMatchObject({ unmount: true, lazy: true });
    expect(() => parse('-u')).toThrow(UsageError);
    expect(() => parse('-u', '/dev/sda', '/mnt')).toThrow(UsageError);
  });

  it('takes its words in any order, and options glued on', () => {
    expect(parse('-text4', '/dev/sda', '-oro', '/mnt').words).toEqual(['/dev/sda', '/mnt', '-o', 'ro']);
  });

  it('has no source where a file system needs none', () => {
    expect(parse('/mnt', '-t', 'null').words).toEqual(['/mnt']);
    expect(parse('', '/mnt', '-t', 'null').words).toEqual(['/mnt']);
  });

  it('sends no list of options when there are none', () => {
    expect(parse('/dev/sda', '/mnt', '-t', 'ext4', '-o', '').words).toEqual(['/dev/sda', '/mnt']);
  });

  it('passes over unknown switches only when told to be sloppy', () => {
    expect(() => parse('a', 'b', '-t', 'x', '-Z')).toThrow(UsageError);
    expect(parse('a', 'b', '-t', 'x', '-s', '-Z').words).toEqual(['a', 'b']);
  });

  it.each([
    [[]],
    [['a', 'b']],
    [['-t', 'x']],
    [['a', 'b', 'c', '-t', 'x']],
    [['a', '-t', 'x', '--check']],
    [['a', 'b', '-t', 'x', '-N', '1']],
    [['a', 'b', '-t', '']],
    [['a', 'b', '-o']],
  ])('%j makes no sense', (args) => {
    expect(() => parse(...args)).toThrow(UsageError);
  });

  it('shows how it is meant', () => {
    expect(() => parse('--help')).toThrow(HelpRequest);
  });
});

describe("the command line under mount(8)'s name", () => {
  it('has the type in the name', () => {
    expect(parseForMount('mount.fuse.ext4', '/dev/sda', '/mnt').type).toBe('fuse.ext4');
    expect(parseForMount('mount.ext4', '/dev/sda', '/mnt').type).toBe('ext4');
    expect(parseForMount('mount.fuse', '/dev/sda', '/mnt', '-t', 'fuse.ext4').type).toBe('fuse.ext4');
    expect(() => parseForMount('mount.fuse', '/dev/sda', '/mnt')).toThrow(UsageError);
  });

  it('has suid and dev unless the caller decided, and none of the words that mount(8) keeps for itself', () => {
    const wordsFor = (list: string) => parseForMount('mount.fuse.ext4', 'a', 'b', '-o', list).words;
    expect(wordsFor('rw')).toEqual(['a', 'b', '-o', 'rw,dev,suid']);
    expect(wordsFor('rw,nosuid,user,nofail,_netdev')).toEqual(['a', 'b', '-o', 'rw,nosuid,dev']);
    expect(wordsFor('ro,suid,nodev,x=a\\,b')).toEqual(['a', 'b', '-o', 'ro,suid,nodev,x=a\\,b']);
  });
});

describe('words of the caller', () => {
  const words = new CallerWords([
    '/dev/sda',
    '/mnt/ä',
    '-o',
    'ro,journal=/dev/sdb,x=/a\\,b',
    '--log=/c',
    '-J/d',
    '-oy=/e',
  ]);
  const mayOpen = (path: string) => words.mayOpen(toByteString(path));
  const isOperand = (path: string) => words.isOperand(toByteString(path));

  it('may be opened, and whole values of options', () => {
    for (const path of ['/dev/sda', '/mnt/ä', '/dev/sdb', '/a,b', '/c', '/d', '/e'])
      expect(mayOpen(path), path).toBe(true);
  });

  it('may not be opened in parts or other spellings', () => {
    for (const path of ['/dev', '/dev/sd', '//dev/sda', '/dev/sda/', '/a', '/mnt/a', 'journal', '', '/b'])
      expect(mayOpen(path), path).toBe(false);
  });

  it('may be mounted on when they are neither switch nor option', () => {
    expect(isOperand('/dev/sda')).toBe(true);
    expect(isOperand('/mnt/ä')).toBe(true);
    for (const path of ['-o', 'ro,journal=/dev/sdb,x=/a\\,b', '/dev/sdb', '--log=/c'])
      expect(isOperand(path), path).toBe(false);
  });
});

describe('fuse.conf', () => {
  const read = (text: string) => {
    const warnings: string[] = [];
    return { conf: parseFuseConf(text, (warning) => warnings.push(warning)), warnings };
  };

  it('permits nothing by default', () => {
    const { conf, warnings } = read('# user_allow_other\n\nmount_max = 1000\n');
    expect(conf).toEqual({ userAllowOther: false, mountMax: 1000, openPatterns: [] });
    expect(warnings).toEqual([]);
  });

  it('limits the mounts of a user', () => {
    expect(read('mount_max = 3').conf.mountMax).toBe(3);
    expect(read('mount_max=-1').conf.mountMax).toBe(-1);
    expect(read('mount_max = -2')).toMatchObject({ conf: { mountMax: 1000 }, warnings: ['line 1 is not understood'] });
  });

  it('warns about what it does not understand', () => {
    const { conf, warnings } = read('user_allow_others\nuser_allow_other # yes\nservice_open_path = x relative\n');
    expect(conf).toEqual({ userAllowOther: true, mountMax: 1000, openPatterns: [] });
    expect(warnings).toEqual(['line 1 is not understood', 'line 3 is not understood']);
    expect(read(`service_open_path = * /${'x'.repeat(300)}`).warnings).toEqual(['line 1 is too long']);
  });

  it.each([
    ['/dev/sd*', '/dev/sda', true],
    ['/dev/sd*', '/dev/sd', true],
    ['/dev/sd*', '/dev/nvme0', false],
    ['/dev/*', '/dev/a/b', true],
    ['/dev/*x', '/dev/a/x', false],
    ['/proc/pressure', '/proc/pressure/memory', true],
    ['/proc/pressure/', '/proc/pressure', true],
    ['/proc/pressure', '/proc/pressures', false],
    ['/proc/pressure', '/proc/pressure/../kcore', false],
    ['/proc/pressure', '/proc/./pressure', false],
    ['/proc/pressure', '/proc/pressure/..', false],
    ['/a.c', '/abc', false],
    ['/a', '/x/a', false],
    ['/a', '/a\n/b', false],
  ])('with pattern %s and path %j gives %s', (pattern, path, expected) => {
    const { conf } = read(`service_open_path = ext4 ${pattern}\n`);
    expect(isConfiguredPath(conf, 'ext4', path)).toBe(expected);
    expect(isConfiguredPath(conf, 'other', path)).toBe(false);
  });

  it('can speak of all services', () => {
    expect(isConfiguredPath(read('service_open_path=* /a').conf, 'any', '/a')).toBe(true);
    const costly = read('service_open_path = * /*a*b*c*d*e').conf;
    expect(isConfiguredPath(costly, 'any', `/${'abcd'.repeat(10_000)}`), 'decided at once').toBe(false);
  });
});

describe('the socket of a service', () => {
  it('is named after the subtype', () => {
    expect(['fuse.ext4', 'fuseblk.ext4', 'ext4', 'fuse.a.b', 'fuse.fuse.a'].map(subtypeOf)).toEqual([
      'ext4',
      'ext4',
      'ext4',
      'a.b',
      'fuse.a',
    ]);
    expect(socketPathOf('ext4')).toBe('/run/filesystems/ext4');
  });

  it('has a path that a socket address can hold', () => {
    const longest = 'x'.repeat(107 - '/run/filesystems/'.length);
    expect(socketPathOf(longest)).toHaveLength(107);
    expect(() => socketPathOf(`${longest}x`)).toThrow(/too long/);
    for (const subtype of ['', '.', '..', 'a/b', 'a\0b']) expect(() => socketPathOf(subtype)).toThrow();
  });
});
