/**
 * What crash exploration goes through, as numbered scenarios: each follows from its name alone, wherever it runs, so
 * that a finding can be looked at again.
 */
import {
  CrashExploration,
  type CrashState,
  type SessionOptions,
  type Violation,
  WorkloadSession,
  type WorkloadStep,
} from './crash-explorer.ts';
import { type CrashImages, type ImageKind, JOURNALLED } from './crash-images.ts';
import { EVERY_OPERATION, randomSteps, sync, syncAndWait } from './crash-workloads.ts';
import { Prng } from './prng.ts';

/** Transactions that have gone through the log before: somewhere in it, and so near its end that it wraps round. */
const LOG_COMMITS: readonly number[] = [0, 150, 320, 332, 338, 400, 500];

export interface Scenario {
  /** `single:N`, `pair:N`, `random:N` or `chain:N`. */
  readonly name: string;
  readonly budget: number;
}

export interface Outcome {
  readonly states: number;
  readonly violations: readonly Violation[];
  /** What was done, for whoever wants to understand a violation. */
  readonly history: readonly string[];
}

/** How a scenario is run: other devices for calibration, somebody who wants to see the states. */
export interface ScenarioOptions {
  readonly session?: SessionOptions;
  readonly onState?: (state: CrashState, kind: ImageKind) => void;
  /** Instead of the kind that the number stands for. */
  readonly kind?: ImageKind;
  /** Instead of steps chosen by chance. */
  readonly steps?: readonly WorkloadStep[];
}

/** Every operation alone, on every kind of image. */
export const SINGLES = EVERY_OPERATION.length * JOURNALLED.length;
/** Every pair of operations, with a sync between or behind them; the kind of image changes from pair to pair. */
export const PAIRS = 2 * EVERY_OPERATION.length ** 2;

export function runScenario(images: CrashImages, { name, budget }: Scenario, options: ScenarioOptions = {}): Outcome {
  const [form, number] = [name.slice(0, name.indexOf(':')), Number(name.slice(name.indexOf(':') + 1))];
  switch (form) {
    case 'single':
      return runSteps(images, number, budget, singleSteps(number), JOURNALLED[number % JOURNALLED.length], options);
    case 'pair':
      return runSteps(images, number, budget, pairSteps(number), kindOfPair(number), options);
    case 'random':
      return runRandom(images, number, budget, options);
    case 'chain':
      return runChain(images, number, budget, options);
    default:
      throw new Error(`${name} is no scenario`);
  }
}

function singleSteps(number: number): WorkloadStep[] {
  return [EVERY_OPERATION[Math.floor(number / JOURNALLED.length)], sync()];
}

/** Not in step with the operations' count. */
const kindOfPair = (number: number): ImageKind =>
  JOURNALLED[(number + Math.floor(number / EVERY_OPERATION.length)) % JOURNALLED.length];

function pairSteps(number: number): WorkloadStep[] {
  const count = EVERY_OPERATION.length;
  const pair = Math.floor(number / 2);
  const one = EVERY_OPERATION[pair % count];
  const two = EVERY_OPERATION[Math.floor(pair / count) % count];
  return number % 2 === 0 ? [one, syncAndWait(), two] : [one, two, syncAndWait()];
}

function runSteps(
  images: CrashImages,
  number: number,
  budget: number,
  steps: readonly WorkloadStep[],
  kindOfNumber: ImageKind,
  options: ScenarioOptions,
): Outcome {
  const kind = options.kind ?? kindOfNumber;
  const session = new WorkloadSession(images.prepared(kind), new Prng(number), options.session).run(steps);
  return exploreSession(session, kind, budget, new Prng(number + 1), options);
}

function runRandom(images: CrashImages, number: number, budget: number, options: ScenarioOptions): Outcome {
  const random = new Prng(number + 0x10000);
  const kind = options.kind ?? JOURNALLED[number % JOURNALLED.length];
  const image = images.prepared(kind, random.pick(LOG_COMMITS));
  const session = new WorkloadSession(image, random, options.session);
  session.run(options.steps ?? randomSteps(random, 20 + random.below(41), session.fs.blockSize));
  if (random.oneIn(3)) session.close();
  return exploreSession(session, kind, budget, random, options);
}

/** A crash, another one while that is recovered from or later on, and a third. */
function runChain(images: CrashImages, number: number, budget: number, options: ScenarioOptions): Outcome {
  const random = new Prng(number + 0x20000);
  const kind = options.kind ?? JOURNALLED[number % JOURNALLED.length];
  let image = images.prepared(kind, random.pick(LOG_COMMITS));
  let states = 0;
  const violations: Violation[] = [];
  const history: string[] = [];
  for (let life = 0; life < 3; life++) {
    const session = new WorkloadSession(image, random, options.session);
    // A short last life leaves more of the budget to the recovery.
    const steps = life === 0 ? 8 + random.below(16) : random.below(6);
    session.run(options.steps ?? randomSteps(random, steps, session.fs.blockSize));
    let next: Uint8Array | null = null;
    const outcome = exploreSession(session, kind, Math.ceil(budget / 3), random, {
      ...options,
      onState: (state) => {
        options.onState?.(state, kind);
        if (next === null || random.oneIn(6)) next = state.image();
      },
    });
    states += outcome.states;
    violations.push(...outcome.violations);
    history.push(`life ${life}:`, ...outcome.history);
    if (next === null) break;
    image = next;
  }
  return { states, violations, history };
}

function exploreSession(
  session: WorkloadSession,
  kind: ImageKind,
  budget: number,
  random: Prng,
  options: ScenarioOptions,
): Outcome {
  const { onState } = options;
  const exploration = new CrashExploration(session, random);
  exploration.explore({ budget, onState: (state) => onState?.(state, kind) });
  return { states: exploration.states, violations: exploration.violations, history: session.history };
}
