// Measures fuse4fs against fuse2fs and kernel ext4 on the same images, interleaved, and writes a table
// and a plot to bench/results. Usage: npm run bench [-- [write|scale] ROUNDS [CONTENDER,...]]
import { writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { type Contender, fuse2fs, fuse4fs, kernelExt4 } from './contenders.ts';
import { plotSvg } from './plot.ts';
import { benchReading } from './reading.ts';
import { Results } from './results.ts';
import { benchScaling } from './scaling.ts';
import { Workplace } from './workplace.ts';
import { scalingBars, writeBars } from './write-bars.ts';
import { benchWriting } from './writing.ts';

const root = process.cwd();
/**
 * Outside the checkout: tools that walk the tree must not walk into a mounted image. Kept, because making the
 * images takes minutes.
 */
const WORK = '/var/tmp/fuse4fs-bench';

type Bench = (workplace: Workplace, contenders: readonly Contender[], rounds: number, results: Results) => void;

const BENCHES: Readonly<
  Record<string, { readonly run: Bench; readonly file: string; readonly results: () => Results }>
> = {
  read: { run: benchReading, file: 'read-only', results: () => new Results([]) },
  write: { run: benchWriting, file: 'writing', results: () => new Results(writeBars) },
  scale: { run: benchScaling, file: 'scaling', results: () => new Results(scalingBars) },
};

function main(): void {
  const words = process.argv.slice(2);
  const kind = words[0] !== undefined && words[0] in BENCHES ? words.shift() : 'read';
  const bench = BENCHES[kind ?? 'read'];
  const rounds = Number(words[0] ?? 3);
  const chosen = words[1]?.split(',');
  const all = [kernelExt4, fuse2fs, fuse4fs(join(root, 'bin/fuse4fs'))];
  const contenders = all.filter((contender) => chosen === undefined || chosen.includes(contender.name));
  const results = bench.results();
  bench.run(new Workplace(WORK, join(root, 'bench')), contenders, rounds, results);
  const machine = `${cpus().length} x ${cpus()[0].model}, Linux ${release()}, Node ${process.version}`;
  const table = results.table(`${machine}, ${rounds} interleaved rounds, medians`);
  console.log(table);
  if (contenders.length < all.length) return;
  const output = join(root, 'bench/results', bench.file);
  writeFileSync(`${output}.md`, table);
  writeFileSync(`${output}.svg`, plotSvg(results));
}

main();
