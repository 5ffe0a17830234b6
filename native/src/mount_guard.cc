// mount(2) by a process that outlives the caller and takes the mount away again when it hears no good of it.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "arguments.h"
#include "registration.h"
#include "system_call.h"

namespace {

/** mount(2) reads at most a page of options and cuts the rest off without a word. */
constexpr size_t kMaxMountDataBytes = 4095;

struct MountCall {
  std::string source;
  std::string target;
  std::string type;
  uint32_t flags;
  std::string data;
  /** Where the mount is then found. */
  std::string path;
};

/** The device that is mounted on `path`. Asks the kernel only: a service that does not answer yet can't hold it up. */
bool DeviceOn(const std::string& path, dev_t* device) {
  struct statx status = {};
  if (statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, 0, &status) < 0) return false;
  *device = makedev(status.stx_dev_major, status.stx_dev_minor);
  return true;
}

/** Not what somebody has mounted over it: that is what umount2 would take. */
void Detach(const MountCall& call, dev_t own) {
  dev_t top;
  if (DeviceOn(call.path, &top) && top == own) umount2(call.path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
}

/** 0 or an errno. */
int MountAndIdentify(const MountCall& call, dev_t* own) {
  const int failed =
      mount(call.source.c_str(), call.target.c_str(), call.type.c_str(), call.flags, call.data.c_str());
  return failed < 0 || !DeviceOn(call.path, own) ? errno : 0;
}

/**
 * The whole life of the guard. Other threads of the caller don't exist here and may have held locks: nothing but
 * system calls. The caller's other descriptors must go, for their last close ends what they belong to.
 */
[[noreturn]] void Guard(int socket, const MountCall& call) {
  setsid();
  dev_t own = 0;
  const int error = MountAndIdentify(call, &own);
  dup2(socket, STDIN_FILENO);
  closefrom(STDERR_FILENO + 1);
  send(STDIN_FILENO, &error, sizeof error, MSG_NOSIGNAL);
  char word;
  if (error == 0 && RetryInterrupted([&] { return read(STDIN_FILENO, &word, 1); }) <= 0) Detach(call, own);
  _exit(0);
}

Napi::Value ForkMountGuard(const Napi::CallbackInfo& info) {
  Arguments args(info, "forkMountGuard");
  const int socket = args.Descriptor(0, "socket");
  const MountCall call = {args.Text(1, "source"),   args.Text(2, "target"), args.Text(3, "type"),
                          args.Uint32(4, "flags"), args.Text(5, "data"),   args.Text(6, "path")};
  if (args.Invalid()) return args.Thrown();
  if (call.data.size() > kMaxMountDataBytes) return NumberOf(args.Env(), -E2BIG);
  const pid_t child = fork();
  if (child < 0) return NumberOf(args.Env(), -errno);
  // The guard is nobody's child for long: then nobody has to wait for its end.
  if (child == 0) {
    if (fork() == 0) Guard(socket, call);
    _exit(0);
  }
  RetryInterrupted([&] { return waitpid(child, nullptr, 0); });
  return NumberOf(args.Env(), 0);
}

}  // namespace

void RegisterMountGuard(Napi::Env env, Napi::Object exports) { Export<ForkMountGuard>(env, exports, "forkMountGuard"); }
