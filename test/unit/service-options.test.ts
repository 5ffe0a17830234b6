import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseCommandLine, subtypeOfProgram } from '../../service/options.ts';
import { UsageError } from '../../service/usage-error.ts';
import { toByteString } from '../../shared/service-protocol/byte-string.ts';
import { VERSION } from '../../shared/version.ts';

const EXT4 = toByteString('ext4');

const parse = (words: string[], mode: 'service' | 'direct' = 'direct', mayAllowOther = true) =>
  parseCommandLine(EXT4, words.map(toByteString), mode, mayAllowOther);

/** The options of a mount with this `-o` list. */
const withList = (list: string, mode: 'service' | 'direct' = 'direct') => parse(['/dev/sda', '/mnt', '-o', list], mode);

function refusal(words: string[], mode: 'service' | 'direct' = 'direct'): UsageError {
  try {
    parse(words, mode);
  } catch (error) {
    if (error instanceof UsageError) return error;
    throw error;
  }
  throw new Error('the command line was accepted');
}

const refusedList = (list: string, mode: 'service' | 'direct' = 'direct') =>
  refusal(['/dev/sda', '/mnt', '-o', list], mode);

describe('the command line', () => {
  it('names device and mount point, with options anywhere', () => {
    for (const words of [
      ['/dev/sda', '/mnt', '-o', 'noatime', '-f'],
      ['-f', '-o', 'noatime', '/dev/sda', '/mnt'],
      ['-fonoatime', '/dev/sda', '/mnt'],
      ['/dev/sda', '-f', '-onoatime', '--', '/mnt'],
    ]) {
      const options = parse(words);
      expect(options).toMatchObject({ device: '/dev/sda', mountPoint: '/mnt', foreground: true, msFlags: 0x406 });
    }
  });

  it('has these defaults', () => {
    expect(parse(['image', 'dir'])).toEqual({
      subtype: 'ext4',
      device: 'image',
      mountPoint: 'dir',
      source: 'image',
      foreground: false,
      debug: false,
      readOnly: false,
      kernel: false,
      acl: false,
      minixStatfs: false,
      noRecovery: false,
      offsetBytes: 0,
      oomScoreAdjust: -500,
      lockFile: null,
      cacheSizeBytes: null,
      traceOperations: false,
      iomap: 'default',
      superblockKiB: null,
      errors: null,
      commitSeconds: 5,
      barrier: null,
      journalChecksum: false,
      discard: null,
      strictAccessTimes: false,
      lazyTimes: false,
      groupOfParent: null,
      reservedUid: null,
      reservedGid: null,
      writebackCache: true,
      msFlags: 6,
      kernelOptions: ['default_permissions'],
      mtabOptions: [],
      withoutEffect: [],
    });
  });

  it('keeps names that are not ASCII as their bytes', () => {
    expect(parse(['/tmp/bäh.img', '/mnt']).device).toBe(toByteString('/tmp/bäh.img'));
  });

  it('takes several -o lists in order', () => {
    expect(parse(['a', 'b', '-o', 'ro,noexec', '-o', 'rw']).msFlags).toBe(0xe);
    expect(parse(['a', 'b', '-r']).readOnly).toBe(true);
    expect(parse(['a', 'b', '-r', '-o', 'rw']).readOnly).toBe(false);
    expect(parse(['a', 'b', '-o', 'ro', '-w']).readOnly).toBe(false);
  });

  it('stays in the foreground in a service, and when it traces', () => {
    expect(parse(['a', 'b'], 'service').foreground).toBe(true);
    expect(parse(['a', 'b', '-d'])).toMatchObject({ foreground: true, debug: true });
    expect(withList('debug')).toMatchObject({ foreground: true, debug: true });
  });

  it('prints help with exit status 1 and the version in two lines with 0', () => {
    for (const word of ['-h', '--help', '--helpfull']) {
      const help = refusal([word]);
      expect(help.exitCode).toBe(1);
      expect(help.message).toContain('DEVICE-OR-IMAGE MOUNTPOINT');
      expect(help.message).toContain('cache_size=');
    }
    expect(refusal(['--helpfull']).message).toContain('max_read=');
    for (const word of ['-V', '--version']) {
      const version = refusal([word]);
      expect(version.exitCode).toBe(0);
      expect(version.message.split('\n')).toHaveLength(2);
    }
  });

  it('has the version of the package', () => {
    const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    expect(manifest).toMatchObject({ version: VERSION });
  });

  it.each([
    ['nothing', [], 'missing device/image'],
    ['an empty device', ['', '/mnt'], 'missing device/image'],
    ['no mount point', ['/dev/sda'], 'missing mountpoint'],
    ['a third word', ['/dev/sda', '/mnt', 'more'], 'too many arguments'],
    ['an unknown switch', ['/dev/sda', '/mnt', '-x'], "unknown option '-x'"],
    ['an unknown long switch', ['/dev/sda', '/mnt', '--frob=1'], "unknown option '--frob=1'"],
    ['-o without a list', ['/dev/sda', '/mnt', '-o'], 'argument missing'],
  ])('with %s is refused', (_name, words, text) => {
    const error = refusal(words);
    expect(error.exitCode).toBe(1);
    expect(error.message).toContain(text);
    expect(error.message).toMatch(/^fuse4fs: /);
  });

  it('takes the type from the name of the program', () => {
    expect(subtypeOfProgram('/sbin/mount.ext3')).toBe('ext3');
    expect(subtypeOfProgram('/usr/bin/ext2')).toBe('ext2');
    expect(subtypeOfProgram('/usr/bin/fuse4fs')).toBe('ext4');
  });
});

describe('mount options', () => {
  it.each([
    ['acl', { acl: true }],
    ['acl,noacl', { acl: false }],
    ['minixdf', { minixStatfs: true }],
    ['minixdf,bsddf', { minixStatfs: false }],
    ['norecovery', { noRecovery: true }],
    ['noload', { noRecovery: true }],
    ['offset=1048576', { offsetBytes: 1048576 }],
    ['offset=1m', { offsetBytes: 1048576 }],
    ['oom_score_adj=-1000', { oomScoreAdjust: -1000 }],
    ['lockfile=/run/x', { lockFile: '/run/x' }],
    ['cache_size=64m', { cacheSizeBytes: 67108864 }],
    ['cache_size=2147483647', { cacheSizeBytes: 2147483647 }],
    ['fuse4fs_debug', { traceOperations: true }],
    ['iomap', { iomap: 'require' }],
    ['iomap=1', { iomap: 'require' }],
    ['iomap=0', { iomap: 'never' }],
    ['iomap=0,iomap=default', { iomap: 'default' }],
    ['sb=32768', { superblockKiB: 32768 }],
    ['subtype=ext3', { subtype: 'ext3', source: '/dev/sda' }],
    ['fsname=disk', { source: 'disk' }],
    ['no_default_opts', { source: 'ext4' }],
    ['ro,nosymfollow,dirsync', { readOnly: true, msFlags: 0x187 }],
    ['noatime,atime', { msFlags: 6 }],
    ['allow_other', { kernelOptions: ['allow_other', 'default_permissions'] }],
    ['max_read=65536,max_read=4096', { kernelOptions: ['max_read=4096', 'default_permissions'] }],
    ['context=system_u:object_r:a:s0', { kernelOptions: ['context=system_u:object_r:a:s0', 'default_permissions'] }],
    ['x-systemd.automount,user=joe,x-a=1', { mtabOptions: ['x-systemd.automount', 'user=joe', 'x-a=1'] }],
    ['data=writeback,stripe=4,delalloc', { withoutEffect: ['data=writeback', 'stripe=4', 'delalloc'] }],
    ['errors=remount-ro', { errors: 'remount-ro' }],
    ['errors=panic,errors=continue', { errors: 'continue' }],
    ['flush_interval=0', { commitSeconds: 0 }],
    ['commit=30', { commitSeconds: 30 }],
    ['nobarrier', { barrier: false }],
    ['barrier=0,barrier', { barrier: true }],
    ['barrier=1', { barrier: true }],
    ['journal_checksum', { journalChecksum: true, withoutEffect: [] }],
    ['journal_checksum,nojournal_checksum', { journalChecksum: false }],
    ['barrier=0', { barrier: false }],
    ['discard', { discard: true }],
    ['discard,nodiscard', { discard: false }],
    ['strictatime', { strictAccessTimes: true }],
    ['strictatime,relatime', { strictAccessTimes: false }],
    ['grpid', { groupOfParent: true }],
    ['bsdgroups,sysvgroups', { groupOfParent: false }],
    ['resuid=1000,resgid=4294967294', { reservedUid: 1000, reservedGid: 4294967294 }],
    ['nowriteback_cache', { writebackCache: false }],
    ['nowriteback_cache,writeback_cache', { writebackCache: true }],
    ['timing,iomap_cache,noiomap_cache', { withoutEffect: ['timing', 'iomap_cache', 'noiomap_cache'] }],
  ])('%s', (list, expected) => {
    expect(withList(list)).toMatchObject(expected);
  });

  it('meant for mount(8) change nothing', () => {
    const words = 'loop,defaults,nofail,auto,noauto,user,users,nouser,owner,group,_netdev,remount';
    const times = 'relatime,norelatime,nostrictatime,lazytime,nolazytime,user_xattr,noblock_validity,nodelalloc';
    expect(withList(`${words},${times}`)).toEqual(parse(['/dev/sda', '/mnt']));
  });

  it.each(['direct', 'directio', 'commit=5', 'data=ordered'])('%s says what is so anyway', (list) => {
    expect(withList(list)).toEqual(parse(['/dev/sda', '/mnt', '-s']));
  });

  it('-n goes to the records of mount(8)', () => {
    expect(parse(['a', 'b', '-n', '-o', 'x-a']).mtabOptions).toEqual(['-n', 'x-a']);
  });

  it('quote a security context whose categories have commas', () => {
    const list = withList('context=u:r:t:s0\\,c1').kernelOptions;
    expect(list).toContain('context="u:r:t:s0,c1"');
    expect(withList('context="u:r:t:s0\\,c1"').kernelOptions).toEqual(list);
  });

  it.each([
    ['errors=explode', 'unknown errors behavior'],
    ['errors', 'unknown option'],
    ['offset=junk', 'not a number of bytes'],
    ['offset=12x', 'not a number of bytes'],
    ['offset=-1', 'not a number of bytes'],
    ['cache_size=0', 'cache size must be between 1 block and 2GB'],
    ['cache_size=2g', 'cache size must be between 1 block and 2GB'],
    ['cache_size=many', 'cache size must be between 1 block and 2GB'],
    ['flush_interval=soon', 'unrecognized flush interval'],
    ['iomap=2', 'unknown iomap= behavior'],
    ['oom_score_adj=1001', 'not between -1000 and 1000'],
    ['oom_score_adj=x', 'not between -1000 and 1000'],
    ['sb=x', 'not a number of 1 KiB blocks'],
    ['fsname=', 'missing name'],
    ['lockfile=', 'missing path'],
    ['max_read=all', 'not a number'],
    ['max_read', 'unknown option'],
    ['context="a"b"', 'not a security context'],
    ['context=', 'not a security context'],
    ['x-a=1\\,suid', 'a comma cannot be passed on'],
    ['user=a\\,b', 'a comma cannot be passed on'],
    ['allow_root', 'use allow_other'],
    ['blkdev', 'opened exclusively'],
    ['data=sometimes', 'unknown data mode'],
    ['data=journal', 'cannot go through the journal'],
    ['barrier=2', 'not 0 or 1'],
    ['commit=2000001', 'unrecognized flush interval'],
    ['resuid=4294967295', 'not a number of a user or group'],
    ['resgid=wheel', 'not a number of a user or group'],
    ['usrquota', 'unknown option'],
    ['dax', 'unknown option'],
    ['journal_dev=0x801', 'unknown option'],
    ['fd=5', 'unknown option'],
    ['rootmode=40000', 'unknown option'],
    ['ro=1', 'unknown option'],
    ['constructor', 'unknown option'],
    ['__proto__=1', 'unknown option'],
    ['toString', 'unknown option'],
  ])('%s is refused by name', (list, text) => {
    const error = refusedList(list);
    expect(error.exitCode).toBe(1);
    expect(error.message).toContain(text);
    expect(error.message).toContain(list.replaceAll('\\,', ','));
  });

  it('lockfile= is refused in a service', () => {
    expect(refusedList('lockfile=/run/x', 'service').message).toContain('lock files');
  });
});

describe('the option kernel', () => {
  it('stands for what the kernel file system does', () => {
    expect(withList('kernel')).toMatchObject({
      kernel: true,
      acl: true,
      msFlags: 0,
      kernelOptions: ['allow_other', 'default_permissions'],
    });
  });

  it('comes before the words of the user wherever it stands', () => {
    expect(withList('nosuid,noacl,kernel')).toMatchObject({ kernel: true, acl: false, msFlags: 2 });
    expect(parse(['-o', 'kernel', 'a', 'b', '-o', 'nodev'], 'service').msFlags).toBe(4);
  });

  it('is dropped when the mount helper would refuse allow_other', () => {
    expect(parse(['-o', 'kernel', 'a', 'b'], 'service', false)).toMatchObject({
      kernel: false,
      acl: false,
      msFlags: 6,
      kernelOptions: ['default_permissions'],
    });
  });
});

describe('the option fakeroot', () => {
  it('leaves permissions to the server and gives no privilege away', () => {
    expect(withList('fakeroot')).toMatchObject({ kernelOptions: [], msFlags: 6 });
    expect(withList('fakeroot,suid,dev').msFlags).toBe(6);
  });

  it('yields to default_permissions', () => {
    expect(withList('fakeroot,default_permissions').kernelOptions).toEqual(['default_permissions']);
  });
});
