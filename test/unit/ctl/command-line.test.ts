import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { definition, HelpRequest, parseCommandLine, UsageError } from '../../../ctl/command-line.ts';
import { completionScript } from '../../../ctl/completion.ts';

const parse = (...words: string[]) => parseCommandLine(words, '1.2.3');

describe('the command line of fuse4fsctl', () => {
  it('names a command, and what it works on', () => {
    expect(parse('list')).toMatchObject({ command: 'list', target: null, json: false, timeoutSeconds: 10 });
    expect(parse('status', '/mnt', '--json')).toMatchObject({ command: 'status', target: '/mnt', json: true });
    expect(parse('status')).toMatchObject({ command: 'status', target: null });
    expect(parse('top', '-n', '3', '--delay', '0.5')).toMatchObject({ rounds: 3, delaySeconds: 0.5 });
    expect(parse('sync', '/dev/sda')).toMatchObject({ command: 'sync', target: '/dev/sda', timeoutSeconds: 600 });
    expect(parse('trim', '-m', '65536', '-t', '5', 'x')).toMatchObject({ leastBytes: 65536, timeoutSeconds: 5 });
    expect(parse('shutdown', '--', '-x')).toMatchObject({ command: 'shutdown', target: '-x' });
  });

  it.each([
    [[], /which command/],
    [['lists'], /unknown command/],
    [['list', 'too', 'much'], /too many arguments/],
    [['sync'], /missing required argument/],
    [['list', '--colour'], /unknown option/],
    [['top', '-d', '0'], /number of seconds/],
    [['top', '-d', 'soon'], /number of seconds/],
    [['list', '-t', '1e9'], /number of seconds/],
    [['trim', '-m', '-1', 'x'], /whole number/],
  ])('makes no sense as %j', (words, message) => {
    expect(() => parse(...words)).toThrow(UsageError);
    expect(() => parse(...words)).toThrow(message);
  });

  it.each([['--help'], ['trim', '--help'], ['--version']])('answers %s', (...words) => {
    expect(() => parse(...words)).toThrow(HelpRequest);
    expect(() => parse(...words)).toThrow(words.includes('--version') ? /^1\.2\.3\n$/ : /Usage: fuse4fsctl/);
  });
});

describe('completion in bash', () => {
  const script = completionScript(definition('', () => {}));
  /** What bash offers for the last of these words; `findmnt` knows two mounts. */
  const offers = (...words: string[]): string[] => {
    const typed = ['fuse4fsctl', ...words].map((word) => `'${word}'`).join(' ');
    const program = `${script}
findmnt() { echo "/mnt/one /dev/loop0"; echo "/mnt/two /dev/loop1"; }
COMP_WORDS=(${typed}) COMP_CWORD=${words.length}
_fuse4fsctl
printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', program], { encoding: 'utf8' });
    expect(stderr).toBe('');
    return stdout.split('\n').filter((line) => line !== '');
  };

  it('knows the commands', () => {
    expect(offers('s')).toEqual(['status', 'sync', 'shutdown']);
    expect(offers('--v')).toEqual(['--version']);
  });

  it('knows the options of each command', () => {
    expect(offers('trim', '--')).toEqual(['--timeout', '--json', '--minimum', '--help']);
    expect(offers('list', '--d')).toEqual([]);
    expect(offers('top', '--d')).toEqual(['--delay']);
  });

  it('knows the mounts, where a mount is wanted', () => {
    expect(offers('sync', '')).toEqual(['/mnt/one', '/dev/loop0', '/mnt/two', '/dev/loop1']);
    expect(offers('status', '/mnt/t')).toEqual(['/mnt/two']);
    expect(offers('list', '/mnt/t')).toEqual([]);
  });
});
