// Preloaded into the service: enters what it writes to one block device into the record that the test reads.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "device-log.h"

enum { kMaxDescriptors = 1024, kUnknown = 0, kDevice = 1, kOther = 2, kParty = 1 };

static struct LogHeader* device_log;
static uint64_t device_number;
static unsigned char descriptors[kMaxDescriptors];

__attribute__((constructor)) static void Open(void) {
  const char* path = getenv("PEER_DEVICE_LOG");
  const char* number = getenv("PEER_DEVICE_NUMBER");
  if (path == NULL || number == NULL) return;
  device_number = strtoull(number, NULL, 10);
  device_log = LogOpen(path);
  if (device_log == NULL) abort();
}

/** Descriptors of the device are inherited, and stay what they are. */
static int IsDevice(int fd) {
  if (device_log == NULL || fd < 0 || fd >= kMaxDescriptors) return 0;
  if (descriptors[fd] == kUnknown) {
    struct stat status;
    const int known = fstat(fd, &status) == 0;
    if (!known || !S_ISBLK(status.st_mode)) return 0;
    descriptors[fd] = status.st_rdev == device_number ? kDevice : kOther;
  }
  return descriptors[fd] == kDevice;
}

static int KindOf(int fd, int flags) {
  if ((flags & (RWF_DSYNC | RWF_SYNC)) != 0) return kLogDurableWrite;
  return (fcntl(fd, F_GETFL) & O_DIRECT) != 0 ? kLogWrite : kLogBufferedWrite;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite64(int fd, const void* bytes, size_t length, off64_t offset) {
  static __typeof__(&pwrite64) next;
  if (next == NULL) next = NEXT(pwrite64);
  struct LogRecord* record =
      IsDevice(fd) ? LogBegin(device_log, KindOf(fd, 0), kParty, (uint64_t)offset, length, bytes) : NULL;
  const ssize_t written = next(fd, bytes, length, offset);
  LogEnd(device_log, record, written == (ssize_t)length);
  return written;
}

ssize_t pwritev64v2(int fd, const struct iovec* parts, int count, off64_t offset, int flags) {
  static __typeof__(&pwritev64v2) next;
  if (next == NULL) next = NEXT(pwritev64v2);
  if (!IsDevice(fd) || count != 1) return next(fd, parts, count, offset, flags);
  struct LogRecord* record = LogBegin(device_log, KindOf(fd, flags), kParty, (uint64_t)offset, parts[0].iov_len,
                                      parts[0].iov_base);
  const ssize_t written = next(fd, parts, count, offset, flags);
  LogEnd(device_log, record, written == (ssize_t)parts[0].iov_len);
  return written;
}

static int Flush(int fd, int (*next)(int)) {
  struct LogRecord* record = IsDevice(fd) ? LogBegin(device_log, kLogFlush, kParty, 0, 0, NULL) : NULL;
  const int result = next(fd);
  LogEnd(device_log, record, result == 0);
  return result;
}

int fsync(int fd) {
  static __typeof__(&fsync) next;
  if (next == NULL) next = NEXT(fsync);
  return Flush(fd, next);
}

int fdatasync(int fd) {
  static __typeof__(&fdatasync) next;
  if (next == NULL) next = NEXT(fdatasync);
  return Flush(fd, next);
}

int ioctl(int fd, unsigned long request, ...) {
  static __typeof__(&ioctl) next;
  if (next == NULL) next = NEXT(ioctl);
  va_list list;
  va_start(list, request);
  void* argument = va_arg(list, void*);
  va_end(list);
  if (request != BLKDISCARD || !IsDevice(fd)) return next(fd, request, argument);
  const uint64_t* range = argument;
  struct LogRecord* record = LogBegin(device_log, kLogDiscard, kParty, range[0], range[1], NULL);
  const int result = next(fd, request, argument);
  LogEnd(device_log, record, result == 0);
  return result;
}
