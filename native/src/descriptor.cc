// Flags and locks of open descriptors.
#include <fcntl.h>
#include <sys/file.h>

#include "arguments.h"
#include "registration.h"
#include "system_call.h"

namespace {

Napi::Value DescriptorFlags(const Napi::CallbackInfo& info) {
  Arguments args(info, "descriptorFlags");
  const int fd = args.Descriptor(0, "fd");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(fcntl(fd, F_GETFL)));
}

/** Sets or clears one flag; `get` and `set` are the fcntl commands of its family. */
long ChangeFlag(int fd, int get, int set, int flag, bool on) {
  const int flags = fcntl(fd, get);
  if (flags < 0) return -errno;
  return OrErrno(fcntl(fd, set, on ? flags | flag : flags & ~flag));
}

Napi::Value SetNonBlocking(const Napi::CallbackInfo& info) {
  Arguments args(info, "setNonBlocking");
  const int fd = args.Descriptor(0, "fd");
  const bool on = args.Flag(1, "on");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), ChangeFlag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on));
}

Napi::Value SetCloseOnExec(const Napi::CallbackInfo& info) {
  Arguments args(info, "setCloseOnExec");
  const int fd = args.Descriptor(0, "fd");
  const bool on = args.Flag(1, "on");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), ChangeFlag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on));
}

/**
 * An open-file-description lock. It excludes other programs' POSIX locks just as a POSIX lock would, but
 * is not lost when this process closes some other descriptor of the same file.
 */
Napi::Value LockWholeFile(const Napi::CallbackInfo& info) {
  Arguments args(info, "lockWholeFile");
  const int fd = args.Descriptor(0, "fd");
  const bool exclusive = args.Flag(1, "exclusive");
  if (args.Invalid()) return args.Thrown();
  struct flock lock = {};
  lock.l_type = static_cast<short>(exclusive ? F_WRLCK : F_RDLCK);
  lock.l_whence = SEEK_SET;
  return NumberOf(args.Env(), OrErrno(fcntl(fd, F_OFD_SETLK, &lock)));
}

Napi::Value FlockExclusive(const Napi::CallbackInfo& info) {
  Arguments args(info, "flockExclusive");
  const int fd = args.Descriptor(0, "fd");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(RetryInterrupted([&] { return flock(fd, LOCK_EX | LOCK_NB); })));
}

}  // namespace

void RegisterDescriptor(Napi::Env env, Napi::Object exports) {
  Export<DescriptorFlags>(env, exports, "descriptorFlags");
  Export<SetNonBlocking>(env, exports, "setNonBlocking");
  Export<SetCloseOnExec>(env, exports, "setCloseOnExec");
  Export<LockWholeFile>(env, exports, "lockWholeFile");
  Export<FlockExclusive>(env, exports, "flockExclusive");
}
