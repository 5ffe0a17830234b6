import type { BaseImage } from './hostile-bases.ts';
import { ImageStructures, type Target } from './image-structures.ts';
import { Prng } from './prng.ts';

/** What was done to an image, in words: printed when a test fails. */
export interface HostileImage {
  readonly seed: number;
  readonly base: string;
  readonly bytes: Uint8Array;
  readonly description: string;
}

/** Makes corrupted variants of a sound image. The same seed gives the same image. */
export class HostileImageMaker {
  readonly #base: BaseImage;
  readonly #structures: ImageStructures;
  readonly #byStructure: readonly (readonly Target[])[];
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(base: BaseImage) {
    this.#base = base;
    this.#structures = new ImageStructures(base);
    const names = new Set(this.#structures.targets.map((target) => target.structure));
    this.#byStructure = [...names].map((name) => this.#structures.targets.filter((each) => each.structure === name));
    this.#bytes = new Uint8Array(base.bytes.length);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Kinds of structure that this base offers. */
  get structures(): readonly string[] {
    return this.#byStructure.map((targets) => targets[0].structure);
  }

  /** Seals every structure of the sound image; names those whose sealing changed it. */
  wronglySealed(): readonly string[] {
    const { targets } = this.#structures;
    return targets
      .filter((target) => !this.#staysSound(target))
      .map(({ structure, block }) => `${structure} in block ${block}`);
  }

  #staysSound(target: Target): boolean {
    this.#bytes.set(this.#base.bytes);
    target.seal(this.#view, this.#bytes);
    return Buffer.compare(this.#bytes, this.#base.bytes) === 0;
  }

  /** The variant of `seed`. Its bytes are valid until the next call. */
  make(seed: number): HostileImage {
    const random = new Prng(seed);
    this.#bytes.set(this.#base.bytes);
    if (random.oneIn(40)) return this.#cutOff(seed, random);
    const kind = random.below(10);
    const description =
      kind < 8 ? this.#structured(random) : kind === 8 ? this.#scatter(random) : this.#misplace(random);
    return { seed, base: this.#base.name, bytes: this.#bytes, description };
  }

  /** A device shorter than its file system. */
  #cutOff(seed: number, random: Prng): HostileImage {
    const length = random.below(this.#bytes.length);
    const description = `cut off after ${length} bytes`;
    return { seed, base: this.#base.name, bytes: this.#bytes.subarray(0, length), description };
  }

  /** Fields of one to three structures get interesting values, and checksums that match them. */
  #structured(random: Prng): string {
    const notes: string[] = [];
    for (let times = random.pick([1, 1, 1, 2, 3]); times > 0; times--) {
      const target = random.pick(random.pick(this.#byStructure));
      for (let fields = random.pick([1, 1, 1, 2, 4]); fields > 0; fields--) notes.push(this.#overwrite(random, target));
      if (!random.oneIn(12)) target.seal(this.#view, this.#bytes);
    }
    return notes.join('; ');
  }

  #overwrite(random: Prng, target: Target): string {
    const [at, width] = random.pick(target.fields);
    const little = !target.isBigEndian;
    const old =
      width === 1 ? this.#bytes[at] : width === 2 ? this.#view.getUint16(at, little) : this.#view.getUint32(at, little);
    const value = this.#interesting(random, old, width, target.block);
    if (width === 1) this.#bytes[at] = value;
    else if (width === 2) this.#view.setUint16(at, value, little);
    else this.#view.setUint32(at, value, little);
    const change = `${width} byte(s) at ${at}: 0x${old.toString(16)} -> 0x${value.toString(16)}`;
    return `${target.structure} in block ${target.block}: ${change}`;
  }

  #interesting(random: Prng, old: number, width: number, ownBlock: number): number {
    const { blockSize, blocksCount, metadataBlocks } = this.#structures;
    const limit = 2 ** (8 * width);
    const value = random.pick([
      () => 0,
      () => 1,
      () => limit - 1,
      () => limit / 2,
      () => limit / 2 - 1,
      () => ownBlock,
      () => random.pick(metadataBlocks),
      () => random.pick(metadataBlocks),
      () => blocksCount,
      () => blocksCount - 1,
      () => blockSize,
      () => blockSize + 1,
      () => blockSize - 4,
      () => old + 1,
      () => old - 1,
      () => old * 2,
      () => old >>> 1,
      () => old + 4,
      () => old ^ (2 ** random.below(8 * width)),
      () => old ^ (2 ** random.below(8 * width)),
      () => random.below(16),
      () => random.below(blocksCount),
      () => random.u32(),
    ])();
    return (value >>> 0) % limit;
  }

  /** Random bytes and bits anywhere in metadata, with no checksum fixed. */
  #scatter(random: Prng): string {
    const { blockSize, metadataBlocks } = this.#structures;
    const places: number[] = [];
    for (let times = 1 + random.below(40); times > 0; times--) {
      const at = random.oneIn(8)
        ? random.below(this.#bytes.length)
        : random.pick(metadataBlocks) * blockSize + random.below(blockSize);
      if (at >= this.#bytes.length) continue;
      this.#bytes[at] = random.oneIn(2) ? random.u32() & 0xff : this.#bytes[at] ^ (1 << random.below(8));
      places.push(at);
    }
    return `bytes at ${places.join(', ')}`;
  }

  /** A metadata block is wiped, filled with noise, or replaced by another one. */
  #misplace(random: Prng): string {
    const { blockSize, metadataBlocks } = this.#structures;
    const [to, from] = [random.pick(metadataBlocks) * blockSize, random.pick(metadataBlocks) * blockSize];
    const kind = random.below(4);
    if (kind === 0) this.#bytes.fill(random.pick([0, 0xff]), to, to + blockSize);
    else if (kind === 1) for (let at = to; at < to + blockSize; at++) this.#bytes[at] = random.u32() & 0xff;
    else this.#bytes.copyWithin(to, from, from + blockSize);
    return `block at ${to}: ${kind === 0 ? 'wiped' : kind === 1 ? 'noise' : `copy of the one at ${from}`}`;
  }
}
