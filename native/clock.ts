import { addon } from './addon.ts';

const numbers = new Float64Array(2);

/**
 * The time at the last tick of the kernel: what it stamps its own changes of files with. A finer clock would put
 * our changes after later ones of the kernel.
 */
export function readCoarseClock(into: { sec: number; nsec: number }): void {
  addon.readCoarseClock(numbers);
  into.sec = numbers[0];
  into.nsec = numbers[1];
}
