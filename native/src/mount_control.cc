// What an administrator's tool asks of a mounted file system.
#include <sys/ioctl.h>
#include <unistd.h>

#include "arguments.h"
#include "registration.h"
#include "system_call.h"

namespace {

/** ioctl(2) with a buffer of the size that the command's number tells. */
Napi::Value ControlMount(const Napi::CallbackInfo& info) {
  Arguments args(info, "controlMount");
  const int fd = args.Descriptor(0, "fd");
  const uint32_t command = args.Uint32(1, "command");
  const Bytes argument = args.Uint8Array(2, "argument");
  if (!args.Invalid() && argument.length != _IOC_SIZE(command)) args.Reject("argument", "as long as the command says");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(ioctl(fd, command, argument.data)));
}

Napi::Value SyncFilesystem(const Napi::CallbackInfo& info) {
  Arguments args(info, "syncFilesystem");
  const int fd = args.Descriptor(0, "fd");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(syncfs(fd)));
}

}  // namespace

void RegisterMountControl(Napi::Env env, Napi::Object exports) {
  Export<ControlMount>(env, exports, "controlMount");
  Export<SyncFilesystem>(env, exports, "syncFilesystem");
}
