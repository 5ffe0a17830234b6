// Where the headers of the installed Node are, for compiling addons. Direct call: prints the directory.
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

export function nodeHeaders() {
  const candidates = [
    process.env.npm_config_nodedir && join(process.env.npm_config_nodedir, 'include', 'node'),
    join(dirname(dirname(process.execPath)), 'include', 'node'),
    '/usr/include/node',
    '/usr/include/nodejs/src',
  ].filter(Boolean);
  const found = candidates.find((directory) => existsSync(join(directory, 'node_api.h')));
  if (found === undefined)
    throw new Error(
      `The headers of Node (node_api.h) are in none of ${candidates.join(', ')}. ` +
        'On Debian: apt-get install libnode-dev libuv1-dev. Elsewhere set npm_config_nodedir to the Node installation.',
    );
  return found;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(resolve(process.argv[1])).href)
  console.log(nodeHeaders());
