import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A block of code in the README. */
export interface Block {
  /** "sh": commands; "fstab", "ini": the content of a file. */
  readonly language: string;
  readonly text: string;
}

const README = join(import.meta.dirname, '..', '..', 'README.md');

/** The blocks of code in one section, in their order. */
export function blocksOf(section: string): Block[] {
  const text = readFileSync(README, 'utf8');
  const [, body] = text.split(`\n## ${section}\n`);
  if (body === undefined) throw new Error(`README.md has no section "${section}"`);
  const [own] = body.split('\n## ');
  return [...own.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language, code]) => ({ language, text: code }));
}

/** A block of commands without its comments. */
export function commandsOf({ language, text }: Block): string[] {
  if (language !== 'sh') throw new Error(`this block is no list of commands: ${text}`);
  return text
    .split('\n')
    .map((line) => line.replace(/(^|\s+)#.*$/, '').trim())
    .filter((line) => line !== '');
}
