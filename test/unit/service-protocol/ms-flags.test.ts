import { describe, expect, it } from 'vitest';
import {
  applyFlagOption,
  MS_FLAGS,
  MS_FLAGS_DEFAULT,
  MS_FLAGS_KNOWN,
} from '../../../shared/service-protocol/ms-flags.ts';

const flagsOf = (...words: string[]): number =>
  words.reduce((flags, word) => applyFlagOption(flags, word) ?? Number.NaN, MS_FLAGS_DEFAULT);

describe('mount flags', () => {
  it('give the words that libfuse was seen to send', () => {
    expect(flagsOf('ro')).toBe(7);
    expect(flagsOf('rw', 'noatime')).toBe(0x406);
    expect(flagsOf('dev', 'suid')).toBe(0);
  });

  it('obey the last word', () => {
    expect(flagsOf('suid', 'nosuid')).toBe(MS_FLAGS_DEFAULT);
    expect(flagsOf('noexec', 'sync', 'exec', 'async')).toBe(MS_FLAGS_DEFAULT);
  });

  it('leave every other option alone', () => {
    for (const word of ['', 'bind', 'remount', 'move', 'shared', 'default_permissions', 'RO'])
      expect(applyFlagOption(0, word)).toBeNull();
  });

  it('each have one bit of their own, and none is bind, remount, move or a propagation flag', () => {
    const bits = MS_FLAGS.map((flag) => flag.ms);
    expect(new Set(bits).size).toBe(bits.length);
    for (const bit of bits) expect(bit & (bit - 1)).toBe(0);
    const forbidden = 0x20 | 0x1000 | 0x2000 | 0x20000 | 0x40000 | 0x80000 | 0x100000;
    expect(MS_FLAGS_KNOWN & forbidden).toBe(0);
  });
});
