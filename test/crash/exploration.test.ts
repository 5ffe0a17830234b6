import { afterAll, describe, expect, test } from 'vitest';
import { CrashImages } from '../support/crash-images.ts';
import { PAIRS, runScenario, SINGLES } from '../support/crash-scenarios.ts';
import { ImageDirectory } from '../support/ext4-image.ts';
import { Prng } from '../support/prng.ts';

const directory = new ImageDirectory();
afterAll(() => directory.remove());
const images = new CrashImages(directory);

/** Explores the scenarios of these numbers; what is wrong is said with the scenario's name. */
function explore(form: string, numbers: readonly number[], budget: number): number {
  let states = 0;
  const findings: string[] = [];
  for (const number of numbers) {
    const name = `${form}:${number}`;
    const outcome = runScenario(images, { name, budget });
    states += outcome.states;
    for (const { event, choice, finding } of outcome.violations) {
      findings.push(`${name} (${outcome.history.join('; ')}), event ${event}, ${choice}: ${finding}`);
    }
  }
  expect(findings.slice(0, 5)).toEqual([]);
  return states;
}

const range = (first: number, count: number): number[] => Array.from({ length: count }, (_, index) => first + index);

const DIVISIONS = range(0, 8);

describe('after a power cut every promise is kept', () => {
  let total = 0;

  test.each(DIVISIONS)('by each operation alone, on each kind of image: part %i', (part) => {
    const numbers = range(0, SINGLES).filter((number) => number % DIVISIONS.length === part);
    const states = explore('single', numbers, 16);
    total += states;
    expect(states).toBeGreaterThan(400);
  });

  test.each(DIVISIONS)('by pairs of operations around a sync: sample %i', (part) => {
    const random = new Prng(part);
    const states = explore(
      'pair',
      range(0, 45).map(() => random.below(PAIRS)),
      14,
    );
    total += states;
    expect(states).toBeGreaterThan(400);
  });

  test.each(DIVISIONS)('by long workloads: part %i', (part) => {
    const states = explore('random', range(part * 10, 10), 220);
    total += states;
    expect(states).toBeGreaterThan(1500);
  });

  test.each(DIVISIONS)('by recovery, and by what follows it: part %i', (part) => {
    const states = explore('chain', range(part * 10, 10), 120);
    total += states;
    expect(states).toBeGreaterThan(500);
  });

  test('in enough states', () => {
    expect(total).toBeGreaterThan(20_000);
  });
});
