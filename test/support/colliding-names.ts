/** Ends of names that start alike and have one and the same major legacy hash; found by search. */
const ENDS: readonly string[] = [
  ...['F1NbEy', 'fL_e`p', 'FD9hiS', 'awuhBk', 'FYNhWC', 'cwvs%G', 'qDlv3~'],
  ...['YhLvDs', '2wjJmw', 'j9zJ2?', 'mCwP7G', 'kj3QBF', 'LoeS,3', 'gQtT~V'],
];

/** Names of 255 bytes that the legacy hash, of signed or unsigned bytes, takes for one another. */
export const collidingNames: readonly Uint8Array[] = ENDS.map((end) =>
  new TextEncoder().encode(end.padStart(255, 'x')),
);
