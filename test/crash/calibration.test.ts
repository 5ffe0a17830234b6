import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { SEEDED_BUGS, type SeededBug } from '../support/crash-faults.ts';
import { CrashImages, JOURNALLED } from '../support/crash-images.ts';
import { runScenario } from '../support/crash-scenarios.ts';
import { ImageDirectory } from '../support/ext4-image.ts';

const directory = new ImageDirectory();
afterAll(() => directory.remove());
const images = new CrashImages(directory);

/** States looked at before a bug counts as one that would not be found: a fraction of what each run goes through. */
const PATIENCE = 4000;

interface Catch {
  readonly states: number;
  readonly scenario: string;
  readonly finding: string;
}

/** Goes through scenarios of all forms until one has a finding. */
function lookFor(bug: SeededBug): Catch | null {
  let states = 0;
  for (let number = 0; states < PATIENCE; number++) {
    for (const form of ['chain', 'random']) {
      const name = `${form}:${number}`;
      const outcome = runScenario(
        images,
        { name, budget: 60 },
        bug.session === undefined ? {} : { session: bug.session },
      );
      states += outcome.states;
      const violation = outcome.violations.find(({ event }) => event >= 0);
      if (violation !== undefined) return { states, scenario: name, finding: violation.finding };
    }
  }
  return null;
}

describe('bugs that a journalling file system might have are found', () => {
  beforeAll(() => {
    // Before there are any bugs: the preparation itself must work.
    for (const kind of JOURNALLED) images.prepared(kind);
  });
  afterEach(() => vi.restoreAllMocks());

  test.each(SEEDED_BUGS)('$name', (bug) => {
    bug.install?.();
    const found = lookFor(bug);
    expect(found).not.toBeNull();
    console.info(`${bug.name}: ${found?.states} states, ${found?.scenario}: ${found?.finding.slice(0, 200)}`);
  });
});
