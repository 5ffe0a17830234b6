import { putU32be, u32be, viewOf } from '../bytes.ts';
import { type ByteString, byteStringOf, bytesOf } from './byte-string.ts';
import { Magic } from './packets.ts';
import { ProtocolError } from './protocol-error.ts';

/**
 * The file in which the helper hands over its command line: a header, a table of (position, length)
 * pairs, then the strings. Entry 0 is the file system subtype, in the place of argv[0]. Big endian.
 */
export const ARGUMENTS = Object.freeze({ magic: 0, argc: 4, TABLE: 8, ENTRY_SIZE: 8, pos: 0, len: 4 });

/** Neither side handles more bytes than this. */
export const ARGUMENTS_BYTES_MAX = 1 << 20;

export interface ServiceArguments {
  readonly subtype: ByteString;
  readonly words: readonly ByteString[];
}

/** Throws ProtocolError when the words are too many, or hold a NUL. */
export function encodeArguments(subtype: ByteString, words: readonly ByteString[]): Uint8Array {
  const strings = [subtype, ...words].map(bytesOf);
  const tableEnd = ARGUMENTS.TABLE + strings.length * ARGUMENTS.ENTRY_SIZE;
  const size = strings.reduce((sum, string) => sum + string.length + 1, tableEnd);
  if (size > ARGUMENTS_BYTES_MAX) fail(ARGUMENTS_BYTES_MAX, `${size} bytes exceed ${ARGUMENTS_BYTES_MAX}`);
  const bytes = new Uint8Array(size);
  const view = viewOf(bytes);
  putU32be(view, ARGUMENTS.magic, Magic.ARGUMENTS);
  putU32be(view, ARGUMENTS.argc, strings.length);
  let entry = ARGUMENTS.TABLE;
  let position = tableEnd;
  for (const string of strings) {
    if (string.includes(0)) fail(position, 'NUL inside a word');
    putU32be(view, entry + ARGUMENTS.pos, position);
    putU32be(view, entry + ARGUMENTS.len, string.length + 1);
    bytes.set(string, position);
    entry += ARGUMENTS.ENTRY_SIZE;
    position += string.length + 1;
  }
  return bytes;
}

/** Strings may lie anywhere behind the table: libfuse's helper leaves a hole. */
export function decodeArguments(bytes: Uint8Array): ServiceArguments {
  if (bytes.length > ARGUMENTS_BYTES_MAX) fail(ARGUMENTS_BYTES_MAX, `${bytes.length} bytes`);
  if (bytes.length < ARGUMENTS.TABLE) fail(bytes.length, 'too short');
  const view = viewOf(bytes);
  if (u32be(view, ARGUMENTS.magic) !== Magic.ARGUMENTS) fail(ARGUMENTS.magic, 'wrong magic');
  const argc = u32be(view, ARGUMENTS.argc);
  if (argc < 1 || argc > (bytes.length - ARGUMENTS.TABLE) / ARGUMENTS.ENTRY_SIZE)
    fail(ARGUMENTS.argc, `${argc} words in ${bytes.length} bytes`);
  const tableEnd = ARGUMENTS.TABLE + argc * ARGUMENTS.ENTRY_SIZE;
  const words: ByteString[] = [];
  let wordBytes = 0;
  for (let entry = ARGUMENTS.TABLE; entry < tableEnd; entry += ARGUMENTS.ENTRY_SIZE) {
    const word = decodeWord(bytes, view, entry, tableEnd);
    // Entries may overlap: without this sum, one long string could be handed out a hundred thousand times.
    wordBytes += word.length + 1;
    if (wordBytes > bytes.length - tableEnd) fail(entry, 'the words overlap');
    words.push(word);
  }
  return { subtype: words[0], words: words.slice(1) };
}

function decodeWord(bytes: Uint8Array, view: DataView, entry: number, tableEnd: number): ByteString {
  const position = u32be(view, entry + ARGUMENTS.pos);
  const length = u32be(view, entry + ARGUMENTS.len);
  if (position < tableEnd) fail(entry + ARGUMENTS.pos, 'string inside the table');
  if (length < 1 || position + length > bytes.length) fail(entry + ARGUMENTS.len, 'string outside the file');
  const end = position + length - 1;
  if (bytes[end] !== 0) fail(end, 'string without final NUL');
  if (bytes.subarray(position, end).includes(0)) fail(position, 'NUL inside a word');
  return byteStringOf(bytes, position, end);
}

function fail(offset: number, why: string): never {
  throw new ProtocolError('ARGS', offset, why);
}
