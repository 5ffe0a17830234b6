/** Transaction numbers are 32 bits and wrap round: `a` is newer when it is less than half the circle ahead of `b`. */
export const isNewer = (a: number, b: number): boolean => ((a - b) | 0) > 0;

export const nextSequence = (sequence: number): number => (sequence + 1) >>> 0;
