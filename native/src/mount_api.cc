// Mounting: configuration contexts (fsopen, fsconfig, fsmount, move_mount) and umount2(2).
#include <fcntl.h>
#include <sys/mount.h>

#include "arguments.h"
#include "registration.h"
#include "system_call.h"

namespace {

/** The kernel keeps 8 messages per context; the bound is for kernels that keep more. */
constexpr int kMaxContextMessages = 64;

Napi::Value Fsopen(const Napi::CallbackInfo& info) {
  Arguments args(info, "fsopen");
  const std::string type = args.Text(0, "type");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(fsopen(type.c_str(), FSOPEN_CLOEXEC)));
}

Napi::Value FsconfigFlag(const Napi::CallbackInfo& info) {
  Arguments args(info, "fsconfigFlag");
  const int context = args.Descriptor(0, "context");
  const std::string key = args.Text(1, "key");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(fsconfig(context, FSCONFIG_SET_FLAG, key.c_str(), nullptr, 0)));
}

Napi::Value FsconfigString(const Napi::CallbackInfo& info) {
  Arguments args(info, "fsconfigString");
  const int context = args.Descriptor(0, "context");
  const std::string key = args.Text(1, "key");
  const std::string value = args.Text(2, "value");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(fsconfig(context, FSCONFIG_SET_STRING, key.c_str(), value.c_str(), 0)));
}

Napi::Value FsconfigCreate(const Napi::CallbackInfo& info) {
  Arguments args(info, "fsconfigCreate");
  const int context = args.Descriptor(0, "context");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0)));
}

Napi::Value Fsmount(const Napi::CallbackInfo& info) {
  Arguments args(info, "fsmount");
  const int context = args.Descriptor(0, "context");
  const uint32_t attributes = args.Uint32(1, "attributes");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(fsmount(context, FSMOUNT_CLOEXEC, attributes)));
}

Napi::Value MoveMount(const Napi::CallbackInfo& info) {
  Arguments args(info, "moveMount");
  const int mountFd = args.Descriptor(0, "mountFd");
  const int targetFd = args.Descriptor(1, "targetFd");
  if (args.Invalid()) return args.Thrown();
  const unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  return NumberOf(args.Env(), OrErrno(move_mount(mountFd, "", targetFd, "", flags)));
}

Napi::Value ContextMessages(const Napi::CallbackInfo& info) {
  Arguments args(info, "contextMessages");
  const int context = args.Descriptor(0, "context");
  if (args.Invalid()) return args.Thrown();
  auto messages = Napi::Array::New(args.Env());
  char text[4096];
  for (uint32_t i = 0; i < kMaxContextMessages; i++) {
    const ssize_t length = RetryInterrupted([&] { return read(context, text, sizeof text); });
    if (length <= 0) break;  // ENODATA: no more messages.
    const size_t end = text[length - 1] == '\n' ? length - 1 : length;
    messages.Set(i, Napi::String::New(args.Env(), text, end));
  }
  return messages;
}

Napi::Value Unmount(const Napi::CallbackInfo& info) {
  Arguments args(info, "unmount");
  const std::string target = args.Text(0, "target");
  const int flags = args.Int32(1, "flags");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(umount2(target.c_str(), flags)));
}

Napi::Value OpenPathNoFollow(const Napi::CallbackInfo& info) {
  Arguments args(info, "openPathNoFollow");
  const std::string path = args.Text(0, "path");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)));
}

}  // namespace

void RegisterMountApi(Napi::Env env, Napi::Object exports) {
  Export<Fsopen>(env, exports, "fsopen");
  Export<FsconfigFlag>(env, exports, "fsconfigFlag");
  Export<FsconfigString>(env, exports, "fsconfigString");
  Export<FsconfigCreate>(env, exports, "fsconfigCreate");
  Export<Fsmount>(env, exports, "fsmount");
  Export<MoveMount>(env, exports, "moveMount");
  Export<ContextMessages>(env, exports, "contextMessages");
  Export<Unmount>(env, exports, "unmount");
  Export<OpenPathNoFollow>(env, exports, "openPathNoFollow");
}
