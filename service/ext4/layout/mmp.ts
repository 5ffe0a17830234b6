/** Block of the multi-mount protection, little endian, 1024 bytes (kernel docs: ext4, "Multiple Mount Protection"). */
export const MMP = Object.freeze({
  mmp_magic: 0x0,
  mmp_seq: 0x4,
  mmp_time: 0x8,
  mmp_nodename: 0x10,
  mmp_bdevname: 0x50,
  mmp_check_interval: 0x70,
  mmp_checksum: 0x3fc,
  NODENAME_SIZE: 64,
  BDEVNAME_SIZE: 32,
  SIZE: 1024,
});

export const MMP_MAGIC = 0x004d4d50;

/** Values of mmp_seq with a meaning; a system that is writing counts or draws others, up to MAX. */
export const MmpSequence = Object.freeze({ CLEAN: 0xff4d4d50, FSCK: 0xe24d4d50, MAX: 0xe24d4d4f });
