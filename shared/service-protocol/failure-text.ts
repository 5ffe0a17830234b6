import { type ByteString, toByteString } from './byte-string.ts';

/**
 * The protocol has no word for why a service gives up. Ours says it in the place of mount table options,
 * just before a bad goodbye: what never gets mounted gets no entry there, so a helper that does not know
 * this keeps the text and throws it away.
 */
const PREFIX = 'x-failure=';

/** Part of the text when the device or image is locked: the helper, which may look around, then says by whom. */
export const SOMEBODY_ELSE_HAS_IT = 'could not lock filesystem';

/** Leaves room for the prefix in what helpers take. */
const TEXT_BYTES_MAX = 1000;

/** One option word: no commas, no control characters, not too long. */
export function failureOption(text: string): ByteString {
  let line = text
    .trim()
    .slice(0, TEXT_BYTES_MAX)
    .replaceAll(',', ';')
    .replace(/\p{Cc}+/gu, ' ');
  while (Buffer.byteLength(line) > TEXT_BYTES_MAX) line = line.slice(0, -1);
  return toByteString(PREFIX + line);
}

/** The text among mount table options, or null. */
export function failureIn(options: readonly string[]): string | null {
  return options.find((word) => word.startsWith(PREFIX))?.slice(PREFIX.length) ?? null;
}
