import { describe, expect, it } from 'vitest';
import { activatedSocket } from '../../shared/listen-fds.ts';

describe('socket activation', () => {
  it('finds the one socket at descriptor 3', () => {
    expect(activatedSocket({ LISTEN_FDS: '1', LISTEN_PID: '42' }, 42)).toBe(3);
  });

  it.each([
    ['no variables', {}],
    ['no process id', { LISTEN_FDS: '1' }],
    ['no count', { LISTEN_PID: '42' }],
    ['another process', { LISTEN_FDS: '1', LISTEN_PID: '41' }],
    ['an empty count', { LISTEN_FDS: '', LISTEN_PID: '42' }],
    ['a count that is no number', { LISTEN_FDS: '1x', LISTEN_PID: '42' }],
    ['a process id that is no number', { LISTEN_FDS: '1', LISTEN_PID: '0x2a' }],
    ['a negative count', { LISTEN_FDS: '-1', LISTEN_PID: '42' }],
  ])('is absent with %s', (_name, environment) => {
    expect(activatedSocket(environment, 42)).toBeNull();
  });

  it.each(['0', '2', '64'])('with %s descriptors is an error', (count) => {
    expect(() => activatedSocket({ LISTEN_FDS: count, LISTEN_PID: '42' }, 42)).toThrow(
      expect.objectContaining({ errno: 7 }),
    );
  });
});
