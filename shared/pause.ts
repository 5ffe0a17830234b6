const never = new Int32Array(new SharedArrayBuffer(4));

/** Stops the calling thread. For the time before a mount is live, when nothing else runs in the process. */
export function pauseThread(ms: number): void {
  Atomics.wait(never, 0, 0, ms);
}
