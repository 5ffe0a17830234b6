import { describe, expect, it } from 'vitest';
import { findMount, parseMountTable } from '../../../ctl/mount-table.ts';

const TABLE = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 22 0:45 / /mnt/with\\040blank rw,nosuid,nodev - fuse.ext4 /dev/loop0 rw,user_id=0,group_id=0
41 22 0:300 / /srv ro,relatime shared:5 master:1 - fuse.ext2 /srv/image\\134file ro,user_id=0
42 22 0:47 / /sub rw - fuse.sshfs host: rw
43 22 7:1 / /blk rw - fuseblk.ext3 /dev/loop1 rw
44 22 0:48 / /srv rw - fuse.ext4 /dev/loop0 rw
`;

describe('the mount table', () => {
  it('is searched for mounts whose server may be ours', () => {
    const mounts = parseMountTable(TABLE);
    expect(mounts.map(({ mountPoint, device, type }) => [mountPoint, device, type])).toEqual([
      ['/mnt/with blank', '/dev/loop0', 'fuse.ext4'],
      ['/srv', '/srv/image\\file', 'fuse.ext2'],
      ['/blk', '/dev/loop1', 'fuseblk.ext3'],
      ['/srv', '/dev/loop0', 'fuse.ext4'],
    ]);
    expect(mounts.map((mount) => mount.isReadOnly)).toEqual([false, true, false, false]);
  });

  it('numbers devices as stat does, whose numbers have their parts interleaved', () => {
    expect(parseMountTable(TABLE).map((mount) => mount.deviceNumber)).toEqual([45, 2 ** 20 + 44, 7 * 256 + 1, 48]);
  });

  it('may be cut off or be none at all', () => {
    for (let end = 0; end < TABLE.length; end++) {
      expect(parseMountTable(TABLE.slice(0, end)).length).toBeLessThanOrEqual(4);
    }
  });

  it('finds what was mounted last by mount point or device', () => {
    const mounts = parseMountTable(TABLE);
    expect(findMount(mounts, '/srv', 0)?.type).toBe('fuse.ext4');
    expect(findMount(mounts, '/dev/loop0', 0)?.mountPoint).toBe('/srv');
    expect(findMount(mounts, '/dev/loop1', 0)?.mountPoint).toBe('/blk');
    expect(findMount(mounts, '/nowhere', 0)).toBeNull();
  });

  it('takes what a user says of his device for another mount only where nobody better says anything', () => {
    const mounts = parseMountTable(`${TABLE}45 22 0:49 / /home/eve/a rw - fuse.ext4 /dev/loop0 rw,user_id=1001
46 22 0:50 / /home/eve/b rw - fuse.ext4 /srv rw,user_id=1001
47 22 0:51 / /home/eve/c rw - fuse.ext4 image rw,user_id=1001
`);
    const found = (name: string, uid: number) => findMount(mounts, name, uid)?.mountPoint;
    expect([0, 1000].map((uid) => found('/dev/loop0', uid))).toEqual(['/srv', '/srv']);
    expect(found('/dev/loop0', 1001)).toBe('/home/eve/a');
    expect([0, 1001].map((uid) => findMount(mounts, '/srv', uid)?.deviceNumber)).toEqual([48, 48]);
    expect(found('image', 0)).toBe('/home/eve/c');
  });
});
