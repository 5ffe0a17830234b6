import { getSystemErrorMap } from 'node:util';
import { errnoName, errnoOf, SystemError } from '../shared/errno.ts';

/** Where the helper's messages go. `detail` is for the verbose switch. */
export interface Report {
  error(text: string): void;
  detail(text: string): void;
}

/** Lines of the form `program: text` on standard error. */
export function stderrReport(program: string, verbose: boolean): Report {
  const print = (text: string): void => {
    process.stderr.write(`${program}: ${printable(text)}\n`);
  };
  return { error: print, detail: verbose ? print : () => {} };
}

/** The service chooses some of the words we print: control characters must not reach the terminal. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** What went wrong with `what`, in words; errors of our own, and bugs, say it themselves. */
export function failureText(error: unknown, what: string): string {
  if (error instanceof Error && (error instanceof SystemError || !('errno' in error))) return error.message;
  const errno = errnoOf(error);
  return `${what}: ${getSystemErrorMap().get(-errno)?.[1] ?? errnoName(errno)}`;
}
