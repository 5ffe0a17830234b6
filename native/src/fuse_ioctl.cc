// ioctls of /dev/fuse descriptors.
#include <linux/fuse.h>
#include <sys/ioctl.h>

#include "arguments.h"
#include "registration.h"
#include "system_call.h"

namespace {

/** Not in released kernels yet; numbers from the iomap patches. Kernels without them answer ENOTTY. */
struct IomapSupport {
  uint64_t flags;
  uint64_t padding;
};
constexpr unsigned long kIocIomapSupport = _IOR(FUSE_DEV_IOC_MAGIC, 99, IomapSupport);
constexpr unsigned long kIocAddIomap = _IO(FUSE_DEV_IOC_MAGIC, 101);

Napi::Value FuseIomapGrant(const Napi::CallbackInfo& info) {
  Arguments args(info, "fuseIomapGrant");
  const int fd = args.Descriptor(0, "fd");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(ioctl(fd, kIocAddIomap)));
}

Napi::Value FuseIomapSupport(const Napi::CallbackInfo& info) {
  Arguments args(info, "fuseIomapSupport");
  const int fd = args.Descriptor(0, "fd");
  if (args.Invalid()) return args.Thrown();
  IomapSupport support = {};
  const long result = OrErrno(ioctl(fd, kIocIomapSupport, &support));
  return NumberOf(args.Env(), result < 0 ? result : static_cast<long>(support.flags & UINT32_MAX));
}

Napi::Value FuseCloneDevice(const Napi::CallbackInfo& info) {
  Arguments args(info, "fuseCloneDevice");
  const int fd = args.Descriptor(0, "fd");
  uint32_t sessionFd = static_cast<uint32_t>(args.Descriptor(1, "sessionFd"));
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(ioctl(fd, FUSE_DEV_IOC_CLONE, &sessionFd)));
}

}  // namespace

void RegisterFuseIoctl(Napi::Env env, Napi::Object exports) {
  Export<FuseIomapGrant>(env, exports, "fuseIomapGrant");
  Export<FuseIomapSupport>(env, exports, "fuseIomapSupport");
  Export<FuseCloneDevice>(env, exports, "fuseCloneDevice");
}
