/**
 * A rule that the server has broken. P is the protocol, B who owns which block, D data, L progress; docs/iomap.md
 * lists them.
 */
export class Violation extends Error {
  readonly id: string;

  constructor(id: string, finding: string) {
    super(`${id}: ${finding}`);
    this.name = 'Violation';
    this.id = id;
  }
}
