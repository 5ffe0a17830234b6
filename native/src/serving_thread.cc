#include "serving_thread.h"

#include <linux/fuse.h>
#include <sys/ioctl.h>

#include <atomic>
#include <cstdint>

#include "system_call.h"

namespace {

/** Not in released kernels yet; number from the iomap patches. Kernels without it answer ENOTTY. */
constexpr unsigned long kIocSetNofs = _IOW(FUSE_DEV_IOC_MAGIC, 100, uint32_t);
static_assert(kIocSetNofs == 0x4004e564);

/** The descriptor whose mount threads serve, or -1: then there is nothing to tell. */
std::atomic<int> wishedFd{-1};
thread_local int followedFd = -1;

long Tell(int fuseFd, uint32_t on) { return OrErrno(ioctl(fuseFd, kIocSetNofs, &on)); }

}  // namespace

long ServingThread::SetNofs(int fuseFd, bool on) {
  const long result = Tell(fuseFd, on ? 1 : 0);
  if (result < 0) return result;
  followedFd = on ? fuseFd : -1;
  wishedFd.store(followedFd, std::memory_order_relaxed);
  return 0;
}

void ServingThread::Enter() {
  const int fd = wishedFd.load(std::memory_order_relaxed);
  if (fd == followedFd) return;
  // Once: a thread that may not is no reason to stop.
  if (fd >= 0) Tell(fd, 1);
  else Tell(followedFd, 0);
  followedFd = fd;
}
