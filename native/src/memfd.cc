// Anonymous files whose content nobody can change after they were made.
#include <fcntl.h>
#include <sys/mman.h>

#include "arguments.h"
#include "registration.h"
#include "system_call.h"

namespace {

/** Linux 6.3: says that the file is never meant to be executed; older kernels refuse the flag. */
constexpr unsigned kMfdNoExecSeal = 0x0008;

int CreateMemfd(const char* name) {
  const int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | kMfdNoExecSeal);
  if (fd >= 0 || errno != EINVAL) return fd;
  return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

long WriteAll(int fd, Bytes content) {
  size_t done = 0;
  while (done < content.length) {
    const long written = OrErrno(RetryInterrupted(
        [&] { return pwrite(fd, content.data + done, content.length - done, static_cast<off_t>(done)); }));
    if (written <= 0) return written < 0 ? written : -EIO;
    done += static_cast<size_t>(written);
  }
  return 0;
}

Napi::Value CreateSealedMemfd(const Napi::CallbackInfo& info) {
  Arguments args(info, "createSealedMemfd");
  const std::string name = args.Text(0, "name");
  const Bytes content = args.Uint8Array(1, "content");
  if (args.Invalid()) return args.Thrown();
  FileDescriptor fd(CreateMemfd(name.c_str()));
  if (fd.get() < 0) return NumberOf(args.Env(), -errno);
  long result = WriteAll(fd.get(), content);
  if (result == 0)
    result = OrErrno(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
  return NumberOf(args.Env(), result < 0 ? result : fd.Release());
}

}  // namespace

void RegisterMemfd(Napi::Env env, Napi::Object exports) {
  Export<CreateSealedMemfd>(env, exports, "createSealedMemfd");
}
