// Runs in the server's unit in place of the server: seals itself as the server does, and tells what is refused.
const fs = require('node:fs');
const addon = require('/usr/lib/fuse4fs/fuse4fs.node');
const forbidden = require('/usr/lib/fuse4fs/forbidden-calls.node');

const EPERM = 1;
const say = (text) => fs.writeSync(1, `${text}\n`);

// What the unit alone refuses.
const unsealed = forbidden.attempt(false).filter(([, result]) => result < 0).length;
say(`sealed: ${addon.setNoNewPrivileges()} ${addon.denyOutsideAccess()} ${addon.restrictSystemCalls()}`);
const attempts = [...forbidden.attempt(false), ...forbidden.attempt(true)];
for (const [name, result] of attempts) if (result !== -EPERM) say(`not refused: ${name}: ${result}`);
say(`refused ${attempts.filter(([, result]) => result === -EPERM).length} of ${attempts.length}; unsealed ${unsealed}`);
process.exit(attempts.every(([, result]) => result === -EPERM) ? 0 : 1);
