/** What follows an error: s_errors of the superblock and the option errors=. */
export const ErrorsBehaviour = Object.freeze({ CONTINUE: 1, READ_ONLY: 2, PANIC: 3 });

/**
 * What is to be done about an error. `option` is the mount option, 0 without one, and goes before the superblock's
 * wish; an unknown wish counts as "continue", which is what file systems are made with. `isFatal`: the journal
 * can't go on, so there is no continuing.
 */
export function errorBehaviour(option: number, superblockWish: number, isFatal: boolean): number {
  const wish = option === 0 ? superblockWish : option;
  if (wish === ErrorsBehaviour.PANIC) return ErrorsBehaviour.PANIC;
  return isFatal || wish === ErrorsBehaviour.READ_ONLY ? ErrorsBehaviour.READ_ONLY : ErrorsBehaviour.CONTINUE;
}
