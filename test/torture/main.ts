// Explores crash states for a long time, in two processes. Usage:
//   npm run torture [-- STATES]      until so many states (500,000) have been looked at
//   npm run torture -- NAME...       scenarios by name, as a finding reports them: pair:17 random:4711
import { type ChildProcess, fork } from 'node:child_process';
import { CrashImages } from '../support/crash-images.ts';
import { PAIRS, runScenario, type Scenario } from '../support/crash-scenarios.ts';
import { ImageDirectory } from '../support/ext4-image.ts';

const PROCESSES = 2;
const DEFAULT_STATES = 500_000;
const PAIR_BUDGET = 40;
const LONG_BUDGET = 360;
const REPORT_EVERY_MS = 60_000;

/** What a process tells after each scenario. */
interface Report {
  readonly form: string;
  readonly states: number;
  readonly findings: readonly string[];
}

/** All pairs of operations first, then long workloads and chains of crashes in turn, without end. */
function scenarioOf(number: number): Scenario {
  if (number < PAIRS) return { name: `pair:${number}`, budget: PAIR_BUDGET };
  const rest = number - PAIRS;
  return { name: `${rest % 2 === 0 ? 'random' : 'chain'}:${Math.floor(rest / 2)}`, budget: LONG_BUDGET };
}

function run(images: CrashImages, scenario: Scenario): Report {
  const { name } = scenario;
  const form = name.slice(0, name.indexOf(':'));
  try {
    const { states, violations, history } = runScenario(images, scenario);
    const findings = violations.map(
      ({ event, choice, finding }) => `${name}, event ${event}, ${choice}: ${finding}\n  after ${history.join('; ')}`,
    );
    return { form, states, findings };
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { form, states: 0, findings: [`${name} could not be run: ${text}`] };
  }
}

/** Every `PROCESSES`th scenario, until the parent goes. */
function work(first: number): void {
  const directory = new ImageDirectory();
  const images = new CrashImages(directory);
  process.on('exit', () => directory.remove());
  process.on('disconnect', () => process.exit());
  let number = first;
  const next = (): void => {
    // The parent may have gone meanwhile.
    process.send?.(run(images, scenarioOf(number)), () => {});
    number += PROCESSES;
    setImmediate(next);
  };
  next();
}

class Summary {
  readonly #wanted: number;
  readonly #byForm = new Map<string, { scenarios: number; states: number }>();
  readonly #start = Date.now();
  #lastReport = Date.now();
  states = 0;
  findings = 0;

  constructor(wanted: number) {
    this.#wanted = wanted;
  }

  add({ form, states, findings }: Report): void {
    const entry = this.#byForm.get(form) ?? { scenarios: 0, states: 0 };
    entry.scenarios++;
    entry.states += states;
    this.#byForm.set(form, entry);
    this.states += states;
    this.findings += findings.length;
    for (const finding of findings.slice(0, 3)) console.log(`FOUND ${finding}`);
    if (Date.now() - this.#lastReport < REPORT_EVERY_MS) return;
    this.#lastReport = Date.now();
    console.log(`${this.states} of ${this.#wanted} states, ${this.findings} findings`);
  }

  print(): void {
    for (const [form, { scenarios, states }] of this.#byForm) {
      console.log(`${form}: ${scenarios} scenarios, ${states} states`);
    }
    const seconds = Math.round((Date.now() - this.#start) / 1000);
    console.log(`${this.states} states in ${seconds} s, ${this.findings} findings`);
  }
}

function supervise(wanted: number): void {
  const summary = new Summary(wanted);
  const children: ChildProcess[] = [];
  for (let index = 0; index < PROCESSES; index++) {
    const child = fork(process.argv[1], [`worker:${index}`]);
    children.push(child);
    child.on('message', (report: Report) => {
      if (summary.states >= wanted) return;
      summary.add(report);
      if (summary.states < wanted) return;
      for (const each of children) each.disconnect();
      summary.print();
      process.exitCode = summary.findings === 0 ? 0 : 1;
    });
    child.on('exit', () => {
      if (summary.states < wanted) process.exitCode = 1;
    });
  }
}

function repeat(names: readonly string[]): void {
  const directory = new ImageDirectory();
  const images = new CrashImages(directory);
  const summary = new Summary(0);
  for (const name of names) {
    summary.add(run(images, { name, budget: name.startsWith('pair') ? PAIR_BUDGET : LONG_BUDGET }));
  }
  summary.print();
  directory.remove();
  process.exitCode = summary.findings === 0 ? 0 : 1;
}

const args = process.argv.slice(2);
const [argument = `${DEFAULT_STATES}`] = args;
if (argument.startsWith('worker:')) work(Number(argument.slice('worker:'.length)));
else if (argument.includes(':')) repeat(args);
else supervise(Number(argument));
