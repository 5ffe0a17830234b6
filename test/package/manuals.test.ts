import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const directory = join(import.meta.dirname, '..', '..', 'man');

/** What is no mistake here: sources are as wide as all others, and manuals of ours need not be installed. */
const accepted = [
  /STYLE: input text line longer than 80 bytes/,
  /STYLE: referenced manual not found/,
  /outdated mandoc\.db/,
];

describe.each(readdirSync(directory))('the manual %s', (name) => {
  it('has nothing that mandoc objects to', () => {
    const { error, stdout, stderr } = spawnSync('mandoc', ['-T', 'lint', join(directory, name)], { encoding: 'utf8' });
    expect(error).toBeUndefined();
    const findings = (stdout + stderr).split('\n').filter((line) => line !== '');
    expect(findings.filter((line) => !accepted.some((pattern) => pattern.test(line)))).toEqual([]);
  });

  it('is formatted by man without a warning', () => {
    const { error, status, stdout, stderr } = spawnSync('man', ['--warnings', '--local-file', join(directory, name)], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C.UTF-8', MANWIDTH: '80' },
    });
    expect(error).toBeUndefined();
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toContain('NAME');
  });
});
