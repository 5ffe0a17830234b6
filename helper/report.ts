import { writeSync } from 'node:fs';
import { errnoOf, SystemError } from '../shared/errno.ts';
import { errnoText } from '../shared/errno-text.ts';

/** Where the helper's messages go. `detail` is for the verbose switch. */
export interface Report {
  error(text: string): void;
  detail(text: string): void;
}

const STDERR = 2;
/** Longer than any path, so that only nonsense is cut. */
const TEXT_CHARACTERS_MAX = 5000;

/** Lines of the form `program: text` on standard error. A reader that went away changes nothing about the mount. */
export function stderrReport(program: string, verbose: boolean): Report {
  const print = (text: string): void => {
    try {
      writeSync(STDERR, `${program}: ${printable(text)}\n`);
    } catch {
      // Nobody is left to tell.
    }
  };
  return { error: print, detail: verbose ? print : () => {} };
}

/** The service chooses some of the words we print: control characters must not reach the terminal. */
function printable(text: string): string {
  return text
    .slice(0, TEXT_CHARACTERS_MAX)
    .replace(/\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** What went wrong with `what`, in words; errors of our own, and bugs, say it themselves. */
export function failureText(error: unknown, what: string): string {
  if (error instanceof Error && (error instanceof SystemError || !('errno' in error))) return error.message;
  return `${what}: ${errnoText(errnoOf(error))}`;
}
