import { DeviceError } from './errors.ts';
import type { WriteContext } from './write-context.ts';

const ZEROS_BYTES = 256 * 1024;

let zeros: Uint8Array = new Uint8Array(0);

/**
 * Writes file data so that nothing of it waits in the device's page cache, from where it could be written once more
 * over what somebody else writes past the cache later: what is not of whole pages goes through the cache, and is
 * written out of it at once. Returns when the device has it, perhaps in a cache of its own. `bytes` are from
 * `ctx.alignedBuffer`.
 */
export function writeUncached(ctx: WriteContext, deviceOffset: number, bytes: Uint8Array): void {
  let errno = -1;
  const program = ctx.device.run([{ kind: 'write', offsetBytes: deviceOffset, bytes, durable: false }], (result) => {
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
