// A process without io_uring. A ring carries out system calls that no filter of the process sees, opening files among
// them, and Node 24 makes some rings before any of our code runs (libuv changes what epoll watches through them).
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstddef>
#include <string>
#include <vector>

#include "arguments.h"
#include "registration.h"
#include "system_call.h"

namespace {

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

/** For the calling thread and the program that it may become: the call is unknown, as on an older kernel. */
long RefuseRings() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {sizeof code / sizeof code[0], code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
  return OrErrno(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

/** Becomes another program; returns only when that failed. */
Napi::Value ExecuteWithoutRings(const Napi::CallbackInfo& info) {
  Arguments args(info, "executeWithoutRings");
  const std::string path = args.Text(0, "path");
  std::vector<std::string> words = args.Texts(1, "words");
  std::vector<std::string> environment = args.Texts(2, "environment");
  if (args.Invalid()) return args.Thrown();
  const long result = RefuseRings();
  if (result < 0) return NumberOf(info.Env(), result);
  return NumberOf(info.Env(), OrErrno(execve(path.c_str(), Pointers(words).data(), Pointers(environment).data())));
}

}  // namespace

void RegisterIoUring(Napi::Env env, Napi::Object exports) {
  Export<ExecuteWithoutRings>(env, exports, "executeWithoutRings");
}
