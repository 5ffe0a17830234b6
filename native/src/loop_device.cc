// Loop devices: regular files as block devices (linux/loop.h).
#include <linux/loop.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "arguments.h"
#include "registration.h"
#include "system_call.h"

namespace {

Napi::Value LoopGetFree(const Napi::CallbackInfo& info) {
  Arguments args(info, "loopGetFree");
  const int controlFd = args.Descriptor(0, "controlFd");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(ioctl(controlFd, LOOP_CTL_GET_FREE)));
}

Napi::Value LoopConfigure(const Napi::CallbackInfo& info) {
  Arguments args(info, "loopConfigure");
  const int loopFd = args.Descriptor(0, "loopFd");
  loop_config config = {};
  config.fd = static_cast<uint32_t>(args.Descriptor(1, "fileFd"));
  config.block_size = args.Uint32(2, "blockSizeBytes");
  config.info.lo_flags = args.Uint32(3, "flags");
  const std::string fileName = args.Text(4, "fileName");
  if (args.Invalid()) return args.Thrown();
  // Only for display (losetup), so a long name is cut.
  std::memcpy(config.info.lo_file_name, fileName.data(), std::min<size_t>(fileName.size(), LO_NAME_SIZE - 1));
  return NumberOf(args.Env(), OrErrno(ioctl(loopFd, LOOP_CONFIGURE, &config)));
}

Napi::Value LoopRemove(const Napi::CallbackInfo& info) {
  Arguments args(info, "loopRemove");
  const int controlFd = args.Descriptor(0, "controlFd");
  const int index = args.Descriptor(1, "index");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(ioctl(controlFd, LOOP_CTL_REMOVE, index)));
}

}  // namespace

void RegisterLoopDevice(Napi::Env env, Napi::Object exports) {
  Export<LoopGetFree>(env, exports, "loopGetFree");
  Export<LoopConfigure>(env, exports, "loopConfigure");
  Export<LoopRemove>(env, exports, "loopRemove");
}
