/*
 * wait-for-init: makes mounts of the /dev/fuse on descriptor 3 wait until INIT is answered, where the kernel can
 * (6.18).
 */
#include <errno.h>
#include <sys/ioctl.h>

/* FUSE_DEV_IOC_SYNC_INIT, missing in older headers. */
#define SYNC_INIT _IO(229, 3)

int main(void) { return ioctl(3, SYNC_INIT) == 0 || errno == ENOTTY ? 0 : 1; }
