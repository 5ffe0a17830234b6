import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { NODE_WORDS } from '../../service/node-tuning.ts';

test('the service manager starts Node with the words that a stand-alone mount uses', () => {
  const unit = readFileSync(new URL('../../systemd/fuse4fs@.service', import.meta.url), 'utf8');
  expect(unit).toContain(`ExecStart=/usr/bin/node ${NODE_WORDS.join(' ')} /usr/bin/fuse4fs `);
});
