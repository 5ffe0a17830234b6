import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { definition } from '../../ctl/command-line.ts';
import { parseCommandLine as parseHelperLine } from '../../helper/command-line.ts';
import { parseCommandLine } from '../../service/options.ts';
import { UsageError } from '../../service/usage-error.ts';
import { toByteString } from '../../shared/service-protocol/byte-string.ts';

const manual = (name: string): string => readFileSync(new URL(`../../man/${name}`, import.meta.url), 'utf8');

/** The names in the tags (`.It`) of a manual that begin with this macro: `.It Fl h , Fl Fl help` has -h and --help. */
function tagsOf(text: string, macro: 'Cm' | 'Fl'): string[] {
  return [...text.matchAll(new RegExp(`^\\.It ${macro} (.*)$`, 'gm'))]
    .flatMap(([, names]) => `${macro} ${names}`.split(' , '))
    .map((name) =>
      name
        .replace(/^Fl Fl /, '--')
        .replace(/^Fl /, '-')
        .replace(/^Cm /, '')
        .replace(/ .*$/, ''),
    );
}

/** Names of switches and mount options in a summary: without values, and without the descriptions behind them. */
function summaryOf(help: string): string[] {
  const indented = help.split('\n').filter((line) => /^ {2}\S/.test(line));
  const names = indented.flatMap((line) =>
    line
      .trim()
      .replace(/ {2}.*$/, '')
      .split(', '),
  );
  return names.map((name) => name.replace(/[ [=*].*$/, ''));
}

function textOf(words: string[]): string {
  try {
    parseCommandLine(toByteString('ext4'), words.map(toByteString), 'direct');
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return '';
}

describe('the manual of fuse4fs', () => {
  const text = manual('fuse4fs.1');
  const help = summaryOf(textOf(['--helpfull']));

  it('has the switches and mount options that --helpfull lists, and no others', () => {
    expect([...tagsOf(text, 'Fl'), ...tagsOf(text, 'Cm')].sort()).toEqual([...help].sort());
  });

  it.each(tagsOf(text, 'Cm'))('names the mount option %s, which exists', (name) => {
    const answers = [name, `${name}=1`].map((word) => textOf(['device', 'dir', '-o', word]));
    expect(answers.filter((answer) => !answer.includes('unknown option'))).not.toEqual([]);
  });
});

describe('the manual of fuservicemount', () => {
  it('has the switches that its help lists, and no others', () => {
    let help = '';
    try {
      parseHelperLine('fuservicemount', ['--help']);
    } catch (error) {
      help = error instanceof Error ? error.message : '';
    }
    const listed = [...help.matchAll(/^ {2}(-\w|--\w+)/gm)].map(([, name]) => name);
    expect([...listed, '--help'].sort()).toEqual(tagsOf(manual('fuservicemount.8'), 'Fl').sort());
  });
});

describe('the manual of fuse4fsctl', () => {
  const text = manual('fuse4fsctl.8');
  const program = definition('0', () => {});
  const switches = [program, ...program.commands].flatMap((command) => command.createHelp().visibleOptions(command));

  it('has the commands that there are, and no others', () => {
    expect(tagsOf(text, 'Cm').sort()).toEqual(program.commands.map((command) => command.name()).sort());
  });

  it('has the options that there are, and no others', () => {
    const names = switches.flatMap(({ short, long }) => [short, long]);
    expect(tagsOf(text, 'Fl').sort()).toEqual([...new Set(names)].sort());
  });
});
