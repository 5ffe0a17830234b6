import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Opcode } from '../../service/fuse/abi.ts';
import { ImageDirectory, imageBytes } from '../support/ext4-image.ts';
import { parseReply, requestBytes } from '../support/fuse-client.ts';
import { type MountedImage, mountBytes } from '../support/mounted-image.ts';

const images = new ImageDirectory();
let image: MountedImage;

beforeAll(() => {
  const commands = ['mkdir a', 'mkdir a/b', 'symlink a/link target', 'mknod a/fifo p', 'ea_set a user.x y'];
  image = mountBytes(imageBytes(images.make(8 * 2 ** 20, ['-O', 'inline_data'], commands)));
});

afterAll(() => images.remove());

const SERVED = Object.values(Opcode).filter((opcode) => opcode !== Opcode.INIT);
const UNANSWERED: readonly number[] = [Opcode.FORGET, Opcode.BATCH_FORGET];

describe('operations that are asked nonsense', () => {
  it('answer every request with one well-formed reply and have no bug to log', () => {
    const { channel } = image.client;
    const nodeIds = fc.oneof(fc.nat(20), fc.nat(4000), fc.maxSafeNat());
    // Fields of sizes and offsets that matter, among arbitrary bytes.
    const word = fc.constantFrom(0n, 1n, 3n, 4n, 16n, 4096n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 63n - 1n, 2n ** 64n - 1n);
    const words = fc.array(fc.oneof(word, fc.bigInt(0n, 2n ** 64n - 1n)), { maxLength: 12 });
    const bodies = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      words.map((values) => new Uint8Array(BigUint64Array.from(values).buffer)),
    );
    fc.assert(
      fc.property(fc.constantFrom(...SERVED), nodeIds, bodies, (opcode, nodeId, content) => {
        const deferred = image.data.reads.length;
        const before = channel.written.length;
        channel.deliver(requestBytes(opcode, nodeId, 8, content));
        const replies = channel.written.splice(before);
        const unanswered = UNANSWERED.includes(opcode) || image.data.reads.length > deferred;
        expect(replies.length).toBe(unanswered ? 0 : 1);
        for (const reply of replies) expect(parseReply(reply).unique).toBe(8);
      }),
      { numRuns: 5000 },
    );
    expect(image.log.lines.filter((line) => line.includes('    at '))).toEqual([]);
  });
});
