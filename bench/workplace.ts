import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';

/** Where images, inputs and programs of a bench are. */
export class Workplace {
  readonly directory: string;
  readonly mountpoint: string;
  readonly #sources: string;

  constructor(directory: string, sources: string) {
    this.directory = directory;
    this.mountpoint = join(directory, 'mnt');
    this.#sources = sources;
    mkdirSync(this.mountpoint, { recursive: true });
  }

  /** Returns the path of the program made from a C source file of the bench. */
  compile(source: string): string {
    const program = join(this.directory, basename(source, '.c'));
    execFileSync('gcc', ['-O2', '-Wall', '-o', program, join(this.#sources, source)]);
    return program;
  }
}
