const SUFFIX_BYTES: Readonly<Record<string, number>> = Object.freeze({ '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 });

/** Bytes of "4096", "64k", "32M" or "1g"; null for anything else and from 2^53 on. */
export function parseSize(text: string): number | null {
  const match = /^(\d{1,16})([kmg]?)$/i.exec(text);
  if (match === null) return null;
  const bytes = Number(match[1]) * SUFFIX_BYTES[match[2].toLowerCase()];
  return Number.isSafeInteger(bytes) ? bytes : null;
}
