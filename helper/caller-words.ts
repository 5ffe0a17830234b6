import { mountOption, splitMountOptions } from '../shared/mount-options.ts';
import { type ByteString, fromByteString, toByteString } from '../shared/service-protocol/byte-string.ts';

/** What the caller wrote on the command line: the only paths that the service can make us touch. */
export class CallerWords {
  readonly words: readonly ByteString[];
  /** Words of all `-o` lists. */
  readonly options: ReadonlySet<string>;
  /** The last of `ro` and `rw` was `ro`. */
  readonly wantReadOnly: boolean;
  readonly #paths: ReadonlySet<string>;

  /** `words` are the arguments as the service gets them, without the program's name. */
  constructor(words: readonly string[]) {
    this.words = words.map(toByteString);
    const lists = this.words.map((word, index) => (this.words[index - 1] === '-o' ? word : optionListIn(word)));
    const options = lists.flatMap(splitMountOptions);
    this.options = new Set(options.map((option) => fromByteString(option.word)));
    this.wantReadOnly = options.filter((option) => option.word === 'ro' || option.word === 'rw').at(-1)?.word === 'ro';
    const assignments = [...options, ...this.words.filter((word) => word.startsWith('--')).map(mountOption)];
    const values = assignments.map((option) => option.value ?? '');
    const glued = this.words.filter((word) => /^-[^-]/.test(word)).map((word) => word.slice(2));
    this.#paths = new Set([...this.words, ...values, ...glued].filter((path) => path !== ''));
  }

  /** Neither a switch nor a list of options. */
  isOperand(text: ByteString): boolean {
    return this.words.some((word, index) => word === text && !word.startsWith('-') && this.words[index - 1] !== '-o');
  }

  /** A path may be opened that is a word, or the whole value of an option: `-o name=path`, `--name=path`, `-Jpath`. */
  mayOpen(path: ByteString): boolean {
    return this.#paths.has(path);
  }
}

/** The list in `-olist`. */
function optionListIn(word: ByteString): ByteString {
  return (word.startsWith('-o') ? word.slice(2) : '') as ByteString;
}
