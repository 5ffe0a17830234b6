import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

const model = read('docs/threat-model.md');
/** Lines of the tables whose last column names tests. */
const rows = [...model.matchAll(/^\|(?!-)(.*)\|([^|]*)\|$/gm)].filter(([line]) => line.includes('"'));
const tests = ['test/service/mount-broker.test.ts', 'test/kernel/users.test.ts'].map(read).join('\n');

describe('the threat model', () => {
  it('has its points', () => expect(rows.length).toBeGreaterThan(15));

  it.each(rows.map(([, point, named]) => [point.split('|')[0].trim(), named]))('has tests for: %s', (_point, named) => {
    const names = [...named.matchAll(/"([^"]+)"/g)].map(([, name]) => name);
    expect(names.filter((name) => !tests.includes(name))).toEqual([]);
  });

  it('names files that exist', () => {
    const files = [...model.matchAll(/`(test\/[^`]+)`/g)].map(([, name]) => `${name}.test.ts`);
    expect(files.filter((file) => !existsSync(new URL(`../../${file}`, import.meta.url)))).toEqual([]);
  });
});
