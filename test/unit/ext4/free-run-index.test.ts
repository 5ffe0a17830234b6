import { describe, expect, it } from 'vitest';
import { FreeRunIndex, levelOf } from '../../../service/ext4/free-run-index.ts';

const GROUPS = 131_072;

describe('the index of a file system of 16 TiB', () => {
  it('looks at a neighbourhood only, however many groups there are', () => {
    let looks = 0;
    const index = new FreeRunIndex(GROUPS, () => {
      looks++;
      return levelOf(32_768);
    });
    expect(index.next(100_000, GROUPS, levelOf(2048))).toBe(100_000);
    expect(looks).toBeLessThanOrEqual(64);
  });

  it('passes over full groups without a look at each, once they are known', () => {
    let looks = 0;
    const index = new FreeRunIndex(GROUPS, (group) => {
      looks++;
      return group === 130_000 ? 5 : 0;
    });
    expect(index.next(0, GROUPS, 3)).toBe(130_000);
    expect(index.next(0, GROUPS, 6)).toBe(-1);
    expect(looks).toBeLessThanOrEqual(GROUPS);
    looks = 0;
    expect(index.next(0, GROUPS, 5)).toBe(130_000);
    expect(looks).toBe(0);
  });

  it('has runs of n blocks on the level of n’s bits', () => {
    expect([0, 1, 2, 3, 4, 7, 8, 32_768].map(levelOf)).toEqual([0, 1, 2, 2, 3, 3, 4, 16]);
  });
});
