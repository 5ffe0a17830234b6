import { afterEach, describe, expect, test } from 'vitest';
import { CONFIGURATIONS, machineFor } from './configurations.ts';
import { runAlone } from './connection.ts';
import type { Machine } from './machine.ts';
import { Storm } from './storm.ts';

const ROUNDS = 4;
const WORKERS = 5;
const OPERATIONS = 80;

const machines: Machine[] = [];
afterEach(async () => {
  for (const machine of machines.splice(0)) await machine.remove();
});

describe('requests beside each other, answers that come late and out of order', () => {
  test.each(CONFIGURATIONS.slice(0, 6).map((wanted, index) => [wanted.name, wanted, index] as const))(
    'change nothing about what files show: %s',
    async (_name, wanted, index) => {
      const machine = machineFor(wanted);
      machines.push(machine);
      const kernel = machine.start();
      for (let round = 0; round < ROUNDS; round++) {
        const storm = new Storm(kernel, {
          seed: 100 * index + round,
          files: 2,
          maxBytes: 120_000,
          maxIoBytes: 16_384,
          hasExtents: wanted.hasExtents,
        });
        try {
          storm.run(WORKERS, OPERATIONS);
          kernel.shrink(() => 0, 1);
          for (const file of storm.files) {
            if (file.inode === null) throw new Error(`${file.name} has no inode`);
            const content = new Uint8Array(file.size + 1);
            expect(runAlone(kernel.read(file.inode, 0, content))).toBe(file.size);
            file.compare(0, content.subarray(0, file.size), 'the last read');
          }
        } catch (error) {
          const trace = kernel.connection.trace.slice(-60).join('\n');
          throw new Error(`${storm.history.slice(-60).join('\n')}\n${trace}\n${machine.stderr}`, { cause: error });
        }
      }
      kernel.unmount();
      expect(machine.fsck()).toBe('');
      expect(await machine.stop()).toBe(0);
    },
  );
});
