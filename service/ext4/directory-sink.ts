/** Takes the entries of a directory, one by one. */
export interface DirectorySink {
  /**
   * One entry. Its name is bytes[nameStart, nameEnd), valid during the call only; `fileType` is a
   * DirentType, UNKNOWN where the file system keeps none. The cookie is the position *behind* the entry.
   * Returns false when the entry found no room: it was not taken and nothing more is wanted.
   */
  entry(
    ino: number,
    fileType: number,
    bytes: Uint8Array,
    nameStart: number,
    nameEnd: number,
    nextCookieHigh: number,
    nextCookieLow: number,
  ): boolean;
}
