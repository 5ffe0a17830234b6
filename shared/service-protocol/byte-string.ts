/**
 * Paths, options and names are bytes on the wire, in no particular encoding. A byte string holds one
 * byte per character (U+0000 to U+00FF), so that any bytes survive decoding, comparing and encoding.
 * Text that Node gave us (command-line words, file names) passes through UTF-8 on its way in and out.
 */
export type ByteString = string & { readonly byteString: unique symbol };

/** The bytes [start, end) as they are. */
export function byteStringOf(bytes: Uint8Array, start: number, end: number): ByteString {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1') as ByteString;
}

export function bytesOf(text: ByteString): Uint8Array {
  return Buffer.from(text, 'latin1');
}

/** The UTF-8 form of ordinary text. */
export function toByteString(text: string): ByteString {
  return Buffer.from(text, 'utf8').toString('latin1') as ByteString;
}

/** Ordinary text again; what is no valid UTF-8 becomes U+FFFD, so compare byte strings and not their texts. */
export function fromByteString(text: ByteString): string {
  return Buffer.from(text, 'latin1').toString('utf8');
}
