import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { mountFuse4fs } from '../support/fuse4fs-mount.ts';
import { makeImage, withKernelMount } from '../support/kernel-image.ts';
import { run, TestRoom } from '../support/test-room.ts';
import { e2fsckComplaints } from '../support/writable-image.ts';

/** Immutable and append-only files: the kernel's ext4 says what each system call must do. */
const room = new TestRoom('protected-files');
afterEach(() => room.reset());
afterAll(() => room.clear());

const EMPTY = { sizeBytes: 64 * 2 ** 20, mkfs: ['-t', 'ext4'] };

/** Prints one line for each step: what it returned, or the error. */
const PRELUDE = `
import errno, os, subprocess, sys
root = sys.argv[1]
def at(name): return root + '/' + name
def step(words, action):
    try: result = action()
    except OSError as error: result = errno.errorcode[error.errno]
    print(words, result)
def put(name, text):
    with open(at(name), 'wb') as file: file.write(text)
def get(name):
    with open(at(name), 'rb') as file: return file.read()
def chattr(*words): subprocess.run(['chattr', *words[:-1], at(words[-1])], check=True)
def opened(name, flags):
    fd = os.open(at(name), flags)
    os.close(fd)
    return 'opened'
`;

const OPENING = `
for flag in 'ia':
    put('file', b'content')
    chattr('+' + flag, 'file')
    for name in ['O_RDONLY', 'O_WRONLY', 'O_RDWR']:
        for more in ['O_CLOEXEC', 'O_APPEND', 'O_TRUNC', 'O_CREAT', 'O_DIRECT']:
            flags = getattr(os, name) | getattr(os, more)
            step(f'+{flag} {name} {more}', lambda: opened('file', flags))
    chattr('-' + flag, 'file')
    step(f'-{flag}', lambda: opened('file', os.O_RDWR))
print(get('file'))
`;

const CHANGING = `
for flag in 'ia':
    put('file', b'content')
    chattr('+' + flag, 'file')
    step('truncate', lambda: os.truncate(at('file'), 3))
    step('chmod', lambda: os.chmod(at('file'), 0o600))
    step('times', lambda: os.utime(at('file'), (5, 5)))
    step('now', lambda: os.utime(at('file')))
    step('link', lambda: os.link(at('file'), at('link')))
    step('rename', lambda: os.rename(at('file'), at('other')))
    step('remove', lambda: os.unlink(at('file')))
    step('replace', lambda: (put('new', b''), os.rename(at('new'), at('file'))))
    chattr('-' + flag, 'file')
print(get('file'))
`;

/** Whether the time of modification is what a writer left is for the kernel to say, too. */
const GATHERED = `
for flag in 'ia':
    for size in [5, 5000, 300000]:
        name = f'{flag}{size}'
        fd = os.open(at(name), os.O_RDWR | os.O_CREAT)
        os.write(fd, b'w' * size)
        chattr('+' + flag, name)
        step(f'{name} fsync', lambda: os.fsync(fd))
        step(f'{name} close', lambda: os.close(fd))
        print(name, os.stat(at(name)).st_size, get(name) == b'w' * size)
`;

const STILL_OPEN = `
fd = os.open(at('file'), os.O_RDWR | os.O_CREAT)
os.write(fd, b'first')
chattr('+a', 'file')
step('overwrite', lambda: os.pwrite(fd, b'F', 0))
step('append', lambda: os.pwrite(fd, b' second', 5))
step('fsync', lambda: os.fsync(fd))
step('close', lambda: os.close(fd))
fd = os.open(at('file'), os.O_WRONLY | os.O_APPEND)
step('append', lambda: os.write(fd, b' third'))
step('close', lambda: os.close(fd))
print(get('file'))
`;

async function compare(script: string, options: string): Promise<void> {
  const perform = (root: string) => run('python3', ['-c', PRELUDE + script, root]);
  const theirs = await withKernelMount(room, makeImage(room, 'theirs', EMPTY), 'rw', perform);
  const image = makeImage(room, 'ours', EMPTY);
  const mount = await mountFuse4fs(room, image, options);
  const ours = perform(mount.mountPoint);
  await mount.unmount();
  expect(ours).toBe(theirs);
  expect(e2fsckComplaints(image)).toBe('');

  expect(e2fsckComplaints(image)).toBe('');
}

describe.each(['rw', 'nowriteback_cache', 'sync'])('immutable and append-only files, mounted with %s,', (options) => {
  test.each([
    ['are opened by whom the kernel lets open them', OPENING],
    ['refuse the changes that the kernel refuses', CHANGING],
    ['keep what was written before they became so', GATHERED],
    ['that are append-only can be written by those who have them open', STILL_OPEN],
  ])('%s', async (_, script) => {
    await compare(script, options);
  });
});

test('what was written before a file became immutable is on the disk', async () => {
  const image = makeImage(room, 'image', EMPTY);
  const mount = await mountFuse4fs(room, image, 'rw');
  run('python3', ['-c', PRELUDE + GATHERED, mount.mountPoint]);
  await mount.unmount();
  await withKernelMount(room, image, 'ro', (root) => {
    for (const name of ['i5', 'i5000', 'i300000', 'a5', 'a5000', 'a300000']) {
      expect(run('sh', ['-c', 'tr -d w <"$1" | wc -c; wc -c <"$1"', 'sh', `${root}/${name}`])).toBe(
        `0\n${name.slice(1)}\n`,
      );
    }
  });
});
