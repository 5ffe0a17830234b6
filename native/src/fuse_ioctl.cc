// ioctls of /dev/fuse descriptors.
#include <linux/fuse.h>
#include <sys/ioctl.h>

#include "arguments.h"
#include "registration.h"
#include "serving_thread.h"
#include "system_call.h"

namespace {

/** Not in released kernels yet; numbers from the iomap patches. Kernels without them answer ENOTTY. */
struct IomapSupport {
  uint64_t flags;
  uint64_t padding;
};
struct IomapBlockSize {
  uint32_t backingId;
  uint32_t bytes;
};
struct StripeHeader {
  uint16_t strips;
  uint16_t reserved[3];
  uint64_t stripBytes;
};
constexpr unsigned long kIocIomapSupport = _IOR(FUSE_DEV_IOC_MAGIC, 99, IomapSupport);
constexpr unsigned long kIocAddIomap = _IO(FUSE_DEV_IOC_MAGIC, 101);
constexpr unsigned long kIocSetBlockSize = _IOW(FUSE_DEV_IOC_MAGIC, 102, IomapBlockSize);
constexpr unsigned long kIocStripeConfig = _IOW(FUSE_DEV_IOC_MAGIC, 103, StripeHeader);
static_assert(kIocIomapSupport == 0x8010e563 && kIocAddIomap == 0xe565 && kIocSetBlockSize == 0x4008e566 &&
              kIocStripeConfig == 0x4010e567);

/** struct fuse_backing_map and its ioctls, which are newer than some headers. The low byte of `flags` is the use. */
struct BackingMap {
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
constexpr uint32_t kBackingForIomap = 1;
constexpr unsigned long kIocBackingOpen = _IOW(FUSE_DEV_IOC_MAGIC, 1, BackingMap);
constexpr unsigned long kIocBackingClose = _IOW(FUSE_DEV_IOC_MAGIC, 2, uint32_t);
static_assert(kIocBackingOpen == 0x4010e501 && kIocBackingClose == 0x4004e502);

constexpr double kMaxBlockBytes = 1 << 20;

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

Napi::Value FuseBackingOpen(const Napi::CallbackInfo& info) {
  Arguments args(info, "fuseBackingOpen");
  const int fd = args.Descriptor(0, "fd");
  BackingMap map = {args.Descriptor(1, "deviceFd"), kBackingForIomap, 0};
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(ioctl(fd, kIocBackingOpen, &map)));
}

Napi::Value FuseBackingClose(const Napi::CallbackInfo& info) {
  Arguments args(info, "fuseBackingClose");
  const int fd = args.Descriptor(0, "fd");
  uint32_t id = args.Uint32(1, "id");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(ioctl(fd, kIocBackingClose, &id)));
}

Napi::Value FuseSetBlockSize(const Napi::CallbackInfo& info) {
  Arguments args(info, "fuseSetBlockSize");
  const int fd = args.Descriptor(0, "fd");
  IomapBlockSize size = {args.Uint32(1, "id"), 0};
  size.bytes = static_cast<uint32_t>(args.Integer(2, "bytes", 0, kMaxBlockBytes));
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(ioctl(fd, kIocSetBlockSize, &size)));
}

Napi::Value FuseSetNofs(const Napi::CallbackInfo& info) {
  Arguments args(info, "fuseSetNofs");
  const int fd = args.Descriptor(0, "fd");
  const bool on = args.Flag(1, "on");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), ServingThread::SetNofs(fd, on));
}

Napi::Value FuseProbeStriping(const Napi::CallbackInfo& info) {
  Arguments args(info, "fuseProbeStriping");
  const int fd = args.Descriptor(0, "fd");
  if (args.Invalid()) return args.Thrown();
  StripeHeader nothing = {};
  return NumberOf(args.Env(), OrErrno(ioctl(fd, kIocStripeConfig, &nothing)));
}

}  // namespace

void RegisterFuseIoctl(Napi::Env env, Napi::Object exports) {
  Export<FuseIomapGrant>(env, exports, "fuseIomapGrant");
  Export<FuseIomapSupport>(env, exports, "fuseIomapSupport");
  Export<FuseCloneDevice>(env, exports, "fuseCloneDevice");
  Export<FuseBackingOpen>(env, exports, "fuseBackingOpen");
  Export<FuseBackingClose>(env, exports, "fuseBackingClose");
  Export<FuseSetBlockSize>(env, exports, "fuseSetBlockSize");
  Export<FuseSetNofs>(env, exports, "fuseSetNofs");
  Export<FuseProbeStriping>(env, exports, "fuseProbeStriping");
}
