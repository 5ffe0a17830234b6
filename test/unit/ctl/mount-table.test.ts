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
    expect(findMount(mounts, '/srv')?.type).toBe('fuse.ext4');
    expect(findMount(mounts, '/dev/loop0')?.mountPoint).toBe('/srv');
    expect(findMount(mounts, '/dev/loop1')?.mountPoint).toBe('/blk');
    expect(findMount(mounts, '/nowhere')).toBeNull();
  });
});
