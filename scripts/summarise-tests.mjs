// Adds up the tiers' JSON reports. Fails when a tier ran no test or skipped one: nothing is skipped silently.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const [directory, ...tiers] = process.argv.slice(2);
const total = { passed: 0, failed: 0, skipped: 0 };
let complete = true;

function report(tier) {
  try {
    return JSON.parse(readFileSync(join(directory, `${tier}.json`), 'utf8'));
  } catch {
    return undefined;
  }
}

for (const tier of tiers) {
  const result = report(tier);
  const passed = result?.numPassedTests ?? 0;
  const failed = result?.numFailedTests ?? 0;
  const skipped = (result?.numPendingTests ?? 0) + (result?.numTodoTests ?? 0);
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
  if (result?.success === true && passed > 0 && skipped === 0) continue;
  complete = false;
  console.log(`tier ${tier}: ${passed} passed, ${failed} failed, ${skipped} skipped: not complete`);
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(complete ? 0 : 1);
