import type { DeviceStep } from './block-device.ts';
import { DeviceError } from './errors.ts';
import type { WriteContext } from './write-context.ts';

/** What direct I/O is certain to take, and the unit of the device's page cache. */
const PAGE_BYTES = 4096;
const ZEROS_BYTES = 256 * 1024;

let zeros: Uint8Array = new Uint8Array(0);

/**
 * Writes file data so that nothing of it stays in the device's page cache, where it could be written once more over
 * what somebody else writes past the cache later. Returns when it is there. `bytes` are from `ctx.alignedBuffer`.
 */
export function writeUncached(ctx: WriteContext, deviceOffset: number, bytes: Uint8Array): void {
  const isAligned = deviceOffset % PAGE_BYTES === 0 && bytes.length % PAGE_BYTES === 0;
  const write: DeviceStep = { kind: 'write', offsetBytes: deviceOffset, bytes, durable: false };
  // Otherwise it goes through the cache, which is clean again after a flush.
  const steps: readonly DeviceStep[] = isAligned ? [write] : [write, { kind: 'flush' }];
  let errno = -1;
  const program = ctx.device.run(steps, (result) => {
    errno = result;
  });
  if (errno < 0) ctx.device.wait(program);
  if (errno !== 0) throw new DeviceError(errno, 'write', deviceOffset, bytes.length);
}

/** The same for zeros. */
export function zeroUncached(ctx: WriteContext, deviceOffset: number, lengthBytes: number): void {
  if (zeros.length === 0) zeros = ctx.alignedBuffer(ZEROS_BYTES);
  for (let done = 0; done < lengthBytes; done += ZEROS_BYTES) {
    writeUncached(ctx, deviceOffset + done, zeros.subarray(0, Math.min(ZEROS_BYTES, lengthBytes - done)));
  }
}
