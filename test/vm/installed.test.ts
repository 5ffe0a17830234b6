// The package in a machine that boots Debian 13 with systemd: installed, used, upgraded, crashed and removed as the
// section "Installing" of the README says, seen from outside.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BUILD_COMMANDS } from '../support/debian-package.ts';
import { type Cargo, emptyDisk, loadCargo } from './cargo.ts';
import { Machine } from './machine.ts';
import { type Block, blocksOf, commandsOf } from './readme.ts';

const work = mkdtempSync(join(tmpdir(), 'fuse4fs-vm-'));
const [build, install, fstab, mountFstab, unit, startUnit, ofUsers, remove, ...others] = blocksOf('Installing');
let cargo: Cargo;
let machine: Machine;

/** Runs a script as root in the machine; it must end with success. */
async function ok(script: string): Promise<string> {
  const { status, output } = await machine.run(script);
  if (status !== 0) throw new Error(`${script}\nended with ${status} and said:\n${output}\n${await recently()}`);
  return output;
}

async function recently(): Promise<string> {
  const { output } = await machine.run('journalctl --no-pager --lines=30; systemctl --failed --no-legend');
  return `the journal:\n${output}`;
}

/** As root, in the directory that holds the checkout's place. */
const command = (line: string): Promise<string> => ok(`cd /root/fuse4fs && ${line}`);
const tool = (name: string, directory: string): Promise<string> => ok(`/root/tools/${name} ${directory}`);

async function commands(block: Block): Promise<void> {
  for (const line of commandsOf(block)) await command(line);
}

const setting = (unitName: string, property: string): Promise<string> =>
  ok(`systemctl show --property=${property} --value ${unitName}`);
const instances = async (): Promise<string[]> =>
  (await ok(`systemctl list-units --plain --no-legend 'fuse4fs@*.service'`))
    .split('\n')
    .map((line) => line.replace(/ .*/, ''))
    .filter((line) => line !== '');

/** The one instance that is there, and its process. */
async function theInstance(): Promise<{ name: string; pid: number }> {
  const names = await instances();
  expect(names).toHaveLength(1);
  return { name: names[0], pid: Number(await setting(names[0], 'MainPID')) };
}

/** Waits until the servers whose command line has this pattern in it have written what they have, and ended. */
const ended = (pattern: string): Promise<string> =>
  ok(`timeout 120 sh -c 'while pgrep --full "^-ext[234] .*${pattern}" >/dev/null; do sleep 0.2; done'`);
const allEnded = (): Promise<string> => ended('');
const mountedOn = (directory: string): Promise<string> =>
  ok(`findmnt --noheadings --output SOURCE,FSTYPE,OPTIONS ${directory}`);

async function isConsistent(device: string): Promise<void> {
  await allEnded();
  expect(await ok(`e2fsck -fn ${device} 2>&1`)).not.toMatch(/Fix\? no/);
}

beforeAll(async () => {
  const here = import.meta.dirname;
  execFileSync(join(here, 'install-qemu'), { stdio: ['ignore', 'pipe', 'pipe'] });
  const base = execFileSync(join(here, 'make-base'), { stdio: ['ignore', 'pipe', 'pipe'] });
  cargo = loadCargo(work);
  const disks = ['kernel', 'ours'].map((name) => emptyDisk(join(work, name), 512));
  machine = new Machine(base.toString().trim().split('\n').at(-1) ?? '', cargo.archive, disks, work);
  await machine.booted(0);
}, 1_800_000);
afterAll(async () => {
  await machine?.stop();
  rmSync(work, { recursive: true, force: true });
});

describe('the machine', () => {
  it('is a Debian 13 whose systemd is content', async () => {
    expect(await ok('. /etc/os-release && echo $VERSION_CODENAME && cat /proc/1/comm')).toBe('trixie\nsystemd');
    expect(await ok('systemctl is-system-running --wait')).toBe('running');
    await ok(`set -e
      tar -C /root -xf /dev/vdb
      udevadm wait --timeout=120 /dev/sda /dev/sdb
      printf 'size=256M\\nsize=+\\n' | sfdisk --quiet --label gpt /dev/sdb
      udevadm wait --timeout=120 /dev/sdb1 /dev/sdb2
      for device in /dev/sda /dev/sdb1 /dev/sdb2; do mkfs.ext4 -q $device; done
      find / -xdev | sort >/root/before`);
  });

  it('has nothing of the package, which the README says how to build', async () => {
    expect((await machine.run('mount -t fuse.ext4 /dev/sdb1 /mnt')).status).not.toBe(0);
    expect(commandsOf(build).slice(1)).toEqual(BUILD_COMMANDS);
    expect(others).toEqual([]);
  });
});

describe('installing', () => {
  it('takes one command, and brings what is needed', async () => {
    await command(commandsOf(install)[0]);
    expect(await ok('dpkg --status fuse4fs fuse3 nodejs | grep ^Status')).toBe(
      Array(3).fill('Status: install ok installed').join('\n'),
    );
  });

  it('enables and starts the sockets, and nothing else', async () => {
    for (const socket of ['fuse4fs.socket', 'fuservicemount.socket']) {
      expect(await ok(`systemctl is-enabled ${socket}; systemctl is-active ${socket}`)).toBe('enabled\nactive');
    }
    expect(await instances()).toEqual([]);
    expect(await ok('systemctl is-system-running')).toBe('running');
    expect(await ok('stat -c "%F %a %U %G" /run/filesystems/ext[234]')).toBe(
      Array(3).fill('socket 660 root root').join('\n'),
    );
    await ok('fuservicemount -t ext4 --check');
  });

  it('installs manuals', async () => {
    await ok('cd /usr/share/man && test -e man1/fuse4fs.1.gz && test -e man8/mount.fuse.ext4.8.gz');
  });
});

describe('mount(8) by root', () => {
  it('mounts', async () => {
    await command(commandsOf(install)[1]);
    expect(await mountedOn('/mnt')).toMatch(/^\/dev\/sdb1 +fuse\.ext4 +rw,/);
  });

  it('has a service that is nobody and may nothing', async () => {
    const { pid } = await theInstance();
    const status = await ok(`cat /proc/${pid}/status`);
    const field = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
    const ids = field('Uid').split(/\s+/).map(Number);
    expect(ids.every((id) => id >= 61184 && id <= 65519)).toBe(true);
    const none = '0'.repeat(16);
    expect(['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map(field)).toEqual([none, none, none, none, none]);
    expect([field('NoNewPrivs'), field('Seccomp')]).toEqual(['1', '2']);
    for (const space of ['user', 'mnt', 'net', 'uts']) {
      expect(await ok(`readlink /proc/${pid}/ns/${space}`)).not.toBe(await ok(`readlink /proc/1/ns/${space}`));
    }
    expect(await ok(`cat /proc/${pid}/oom_score_adj`)).toBe('-1000');
    const files = await ok(`readlink /proc/${pid}/fd/* | grep '^/' | sort -u`);
    const known =
      /^\/dev\/(fuse|null|sdb1|urandom)$|^\/proc\/pressure\/memory$|^\/sys\/fs\/cgroup\/.*memory\.pressure$/;
    expect(files.split('\n').filter((path) => !known.test(path))).toEqual([]);
  });

  it('scores at most 0.2 with systemd-analyze security', async () => {
    const { name } = await theInstance();
    await ok(`systemd-analyze security --no-pager --threshold=2 ${name}`);
  });

  it('leaves the tree that the kernel leaves when the same work is done', async () => {
    await ok('mkdir /kernel && mount -t ext4 /dev/sda /kernel');
    await tool('work', '/kernel');
    await tool('work', '/mnt');
    const tree = await tool('describe', '/mnt');
    expect(tree).toBe(await tool('describe', '/kernel'));
    expect(tree.split('\n').length).toBeGreaterThan(2000);
  });

  it('leaves a consistent file system, with the same tree for the kernel', async () => {
    await command(commandsOf(install)[2]);
    await isConsistent('/dev/sdb1');
    await ok('mount -t ext4 /dev/sdb1 /mnt');
    expect(await tool('describe', '/mnt')).toBe(await tool('describe', '/kernel'));
    await ok('umount /mnt /kernel');
    expect(await instances()).toEqual([]);
  });
});

describe('the sandbox', () => {
  const unitFile = '/usr/lib/systemd/system/fuse4fs@.service';
  const dropIns = '/etc/systemd/system/fuse4fs@.service.d';

  it('refuses whatever a server does not need, to old and new threads', async () => {
    await ok(`set -e
      cp /root/probe/* /usr/lib/fuse4fs/
      sed -e 's,^ExecStart=.*,ExecStart=/usr/bin/node /usr/lib/fuse4fs/sandbox-probe.cjs,' -e '/^On[SF]/d' \
        -e 's,^Type=.*,Type=oneshot,' ${unitFile} >/run/systemd/system/probe.service
      systemctl daemon-reload
      systemctl start probe.service || { journalctl --output=cat --unit=probe.service; exit 1; }
      journalctl --sync`);
    const said = await ok('journalctl --no-pager --output=cat --unit=probe.service');
    const [, refused, tried] = /^refused (\d+) of (\d+); unsealed \d{2,}$/m.exec(said) ?? [];
    expect(Number(tried)).toBeGreaterThan(100);
    expect(refused).toBe(tried);
    await ok('cd /usr/lib/fuse4fs && rm sandbox-probe.cjs forbidden-calls.node /run/systemd/system/probe.service');
  });

  it('can do without memory that is writable and executable', async () => {
    await ok(`set -e
      mkdir ${dropIns}
      cp /usr/share/doc/fuse4fs/examples/fuse4fs-jitless.conf ${dropIns}/
      systemctl daemon-reload
      mount -t fuse.ext4 /dev/sdb1 /mnt && cp -a /usr/share/doc/systemd /mnt/jitless`);
    const { name, pid } = await theInstance();
    expect(await ok(`grep -cE '^[^ ]+ .wx' /proc/${pid}/maps || true`)).toBe('0');
    await ok(`systemd-analyze security --no-pager --threshold=1 ${name}`);
    await ok('diff -r /usr/share/doc/systemd /mnt/jitless && rm -r /mnt/jitless && umount /mnt');
    await isConsistent('/dev/sdb1');
    await ok(`rm -r ${dropIns} && systemctl daemon-reload`);
  });
});

describe('a line in fstab', () => {
  it('mounts what the kernel has written', async () => {
    await ok(`cat >>/etc/fstab <<'END'\n${fstab.text}END`);
    await commands(mountFstab);
    expect(await mountedOn('/srv/data')).toMatch(/^\/dev\/sdb1 +fuse\.ext4 +rw,/);
    await ok('mount -t ext4 /dev/sda /kernel');
    expect(await tool('describe', '/srv/data')).toBe(await tool('describe', '/kernel'));
    await ok('umount /kernel');
    expect(await setting('srv-data.mount', 'ActiveState')).toBe('active');
  });
});

describe('a mount unit', () => {
  it('mounts when it is enabled, beside other mounts', async () => {
    await ok(`cat >/etc/systemd/system/srv-other.mount <<'END'\n${unit.text}END`);
    await commands(startUnit);
    expect(await mountedOn('/srv/other')).toMatch(/^\/dev\/sdb2 +fuse\.ext4 +rw,/);
    expect(await instances()).toHaveLength(2);
    await ok('echo kept >/srv/other/file && sync /srv/other/file');
  });

  it('unmounts when it is stopped, and mounts again', async () => {
    await ok('systemctl stop srv-other.mount');
    await ended('/srv/other');
    await ok('e2fsck -fn /dev/sdb2 && systemctl start srv-other.mount');
    expect(await ok('cat /srv/other/file')).toBe('kept');
  });
});

describe('a user without root', () => {
  const alice = (line: string): Promise<string> => ok(`runuser -u alice -- sh -c 'cd && ${line}'`);

  it('mounts an image on a directory', async () => {
    await alice('mkdir stick && truncate -s 16M stick.img && mkfs.ext4 -q -E root_owner stick.img');
    await alice(commandsOf(ofUsers)[0]);
    expect(await mountedOn('/home/alice/stick')).toMatch(/fuse\.ext4 .*nosuid,nodev/);
    await alice('echo mine >stick/file');
  });

  it('keeps it from others, whom it does not obey', async () => {
    expect((await machine.run('chmod 755 /home/alice; runuser -u bob -- ls /home/alice/stick')).status).not.toBe(0);
    expect((await machine.run('runuser -u bob -- fusermount3 -u /home/alice/stick')).status).not.toBe(0);
    expect((await machine.run('runuser -u bob -- /usr/sbin/fuservicemount -u /home/alice/stick')).status).not.toBe(0);
    const elsewhere = 'runuser -u bob -- /usr/sbin/fuservicemount /home/alice/stick.img /srv -t fuse.ext4';
    expect((await machine.run(elsewhere)).status).not.toBe(0);
  });

  it('is served by an instance like others', async () => {
    expect(await alice('fuse4fsctl list')).toContain('/home/alice/stick');
    expect(await instances()).toHaveLength(3);
  });

  it('unmounts it', async () => {
    await alice(commandsOf(ofUsers)[1]);
    await ended('stick');
    expect(await alice('debugfs -R "cat file" stick.img 2>/dev/null')).toBe('mine');
    await ok('e2fsck -fn /home/alice/stick.img');
  });
});

describe("libfuse's mount.fuse3, which knows no services", () => {
  it('runs the program in place', async () => {
    await ok('truncate -s 16M /root/image && mkfs.ext4 -q /root/image && mount.fuse3 ext4#/root/image /mnt');
    await ok('echo here >/mnt/file && umount /mnt');
    await ended('/root/image');
    expect(await ok('debugfs -R "cat file" /root/image 2>/dev/null; e2fsck -fn /root/image >/dev/null 2>&1')).toBe(
      'here',
    );
  });
});

describe('an upgrade', () => {
  it('leaves instances, and what is written through them, alone', async () => {
    const before = await ok('pgrep --full "^-ext4 " | sort');
    await ok(`systemd-run --quiet --unit=writer sh -c 'while :; do date +%s.%N >>/srv/data/log; sleep 0.2; done'`);
    await ok('apt-get install -q /root/upgrade/*.deb');
    expect(await ok('dpkg --status fuse4fs | grep ^Version')).toBe(`Version: ${cargo.upgradedVersion}`);
    expect(await ok('pgrep --full "^-ext4 " | sort')).toBe(before);
    expect(await ok('systemctl is-active writer fuse4fs.socket srv-data.mount')).toBe('active\nactive\nactive');
    await ok('systemctl stop writer && test -s /srv/data/log');
  });

  it('serves new mounts, too', async () => {
    await ok('mount -t fuse.ext4 -o ro /root/image /mnt && umount /mnt');
  });
});

describe('an instance that is killed', () => {
  it('loses nothing that was synchronised, and its file system mounts again', async () => {
    await ok(
      'mount -t fuse.ext4 /dev/sda /mnt && echo synced >/mnt/synced && sync /mnt/synced && echo lost >/mnt/lost',
    );
    await ok('kill -KILL $(pgrep --full "^-ext4 .*/dev/sda")');
    // The unit that removes what lost its server is started by the instance's end.
    await ok("timeout 300 sh -c 'while findmnt /mnt >/dev/null; do sleep 0.2; done'");
    await ok('mount -t fuse.ext4 /dev/sda /mnt');
    expect(await ok('cat /mnt/synced')).toBe('synced');
    await ok('umount /mnt');
    await ended('/dev/sda');
    await ok('e2fsck -fn /dev/sda');
  });

  it('leaves no unit behind', async () => {
    expect(await ok("systemctl list-units --all --plain --no-legend --state=failed 'fuse4fs@*'")).toBe('');
    expect(await instances()).toHaveLength(2);
  });
});

describe('a machine', () => {
  it('that loses power has what was synchronised, and mounts it at boot', async () => {
    await ok('mkdir /srv/data/new && cp -a /usr/share/doc/systemd /srv/data/new && echo 1 >/srv/data/new/synced');
    await ok('sync /srv/data/new/synced && (for i in $(seq 200); do echo $i >/srv/data/new/$i; done)');
    await machine.reset();
    await ok('systemctl is-system-running --wait');
    expect(await mountedOn('/srv/data')).toMatch(/^\/dev\/sdb1 +fuse\.ext4 +rw,/);
    expect(await mountedOn('/srv/other')).toMatch(/^\/dev\/sdb2 +fuse\.ext4 +rw,/);
    expect(await ok('cat /srv/data/new/synced /srv/other/file')).toBe('1\nkept');
    await ok('umount /srv/data');
    await ended('/srv/data');
    await ok('e2fsck -fn /dev/sdb1 && mount /srv/data');
  });

  it('that reboots keeps what was written, synchronised or not', async () => {
    await ok('cp -a /usr/share/doc/systemd /srv/data/written && echo 2 >/srv/data/not-synced');
    await ok("systemd-run --quiet --unit=busy --working-directory=/srv/data sh -c 'exec sleep 9999 9>>log'");
    await machine.reboot();
    await ok('systemctl is-system-running --wait');
    expect(await ok('cat /srv/data/not-synced && diff -r /usr/share/doc/systemd /srv/data/written')).toBe('2');
    await ok('umount /srv/data');
    await ended('/srv/data');
    await ok('e2fsck -fn /dev/sdb1 && mount /srv/data');
  });
});

describe('removal', () => {
  it('takes the commands of the README, and leaves a mount that is in use alone', async () => {
    await ok('mount -t fuse.ext4 /root/image /mnt');
    await commands(remove);
    await ok('echo still >/mnt/works && sync /mnt/works');
    expect(await ok('cat /mnt/works; umount /mnt')).toBe('still');
    await allEnded();
    expect(await ok('debugfs -R "cat works" /root/image 2>/dev/null; e2fsck -fn /root/image >/dev/null 2>&1')).toBe(
      'still',
    );
  });

  it('leaves nothing of the package', async () => {
    await ok('rm /etc/systemd/system/srv-other.mount && sed -i /fuse.ext4/d /etc/fstab && systemctl daemon-reload');
    const ours = 'fuse4fs|fuservicemount|mount\\.fuse\\.ext|/ext[234]$|/run/filesystems/.';
    const every = 'find / -xdev; find /run /var/lib/private';
    expect(await ok(`{ ${every}; } | grep -E '${ours}' | grep -vE '^/(root|run/udev)/' || true`)).toBe('');
    expect(
      await ok("systemctl list-unit-files --no-legend 'fuse4fs*' 'fuservicemount*'; systemctl --failed --no-legend"),
    ).toBe('');
    expect((await machine.run('mount -t fuse.ext4 /dev/sdb1 /mnt')).status).not.toBe(0);
  });
});
