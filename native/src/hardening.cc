// Giving up privilege. Linux keeps credentials per thread and Node has threads before any of our code
// runs, so each step says which threads it reaches; native/hardening.ts states the order.
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "arguments.h"
#include "registration.h"
#include "system_call.h"

namespace {

#ifndef PR_SET_IO_FLUSHER
constexpr int PR_SET_IO_FLUSHER = 57;
#endif

/** Empties the bounding set of the calling thread (and threads it starts). Without CAP_SETPCAP it stays as it is. */
long EmptyBoundingSet() {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
    if (prctl(PR_CAPBSET_DROP, capability) < 0) return errno == EPERM ? 0 : -errno;
  return 0;
}

bool IsEmpty(const __user_cap_data_struct& word) {
  return word.effective == 0 && word.permitted == 0 && word.inheritable == 0;
}

/** A sandbox that took them away may forbid capset as well: it is called only when there is something to drop. */
long EmptyOwnSets() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct held[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, held) < 0) return -errno;
  if (IsEmpty(held[0]) && IsEmpty(held[1])) return 0;
  const __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  return OrErrno(syscall(SYS_capset, &header, none));
}

Napi::Value DropCapabilities(const Napi::CallbackInfo& info) {
  long result = EmptyBoundingSet();
  if (result == 0) result = OrErrno(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
  if (result == 0) result = EmptyOwnSets();
  return NumberOf(info.Env(), result);
}

/**
 * prctl alone reaches one thread. Installing a system call filter with TSYNC hands the filter and
 * no_new_privs to every thread; this filter allows everything, for some 50 ns per system call. A process
 * that was started with the bit (systemd's NoNewPrivileges=) has it in all threads and needs no filter.
 */
long SetNoNewPrivilegesEverywhere() {
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) return 0;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
  sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_fprog program = {1, &allow};
  const long result =
      OrErrno(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program));
  return result > 0 ? -EBUSY : result;  // Positive: the thread whose own filter stands in the way.
}

Napi::Value SetNoNewPrivileges(const Napi::CallbackInfo& info) {
  return NumberOf(info.Env(), SetNoNewPrivilegesEverywhere());
}

Napi::Value SetDumpable(const Napi::CallbackInfo& info) {
  Arguments args(info, "setDumpable");
  const bool on = args.Flag(0, "on");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(prctl(PR_SET_DUMPABLE, on ? 1 : 0, 0, 0, 0)));
}

Napi::Value SetIoFlusher(const Napi::CallbackInfo& info) {
  return NumberOf(info.Env(), OrErrno(prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0)));
}

/** Whether the calling thread has this capability in effect. */
bool HasCapability(int capability) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, sets) < 0) return false;
  return (sets[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability)) != 0;
}

/**
 * The C library applies group and user ids to every thread, and the kernel empties the effective,
 * permitted and ambient capabilities of a thread whose last id 0 goes. The bounding set can only be
 * emptied before that, and only for the calling thread; no_new_privs makes what others keep harmless.
 */
Napi::Value BecomeUser(const Napi::CallbackInfo& info) {
  Arguments args(info, "becomeUser");
  const uid_t uid = static_cast<uid_t>(args.Integer(0, "uid", 1, UINT32_MAX - 1.0));
  const gid_t gid = static_cast<gid_t>(args.Integer(1, "gid", 1, UINT32_MAX - 1.0));
  if (args.Invalid()) return args.Thrown();
  // Where the calling thread may not and another may, the C library would abort the process.
  if (!HasCapability(CAP_SETUID) || !HasCapability(CAP_SETGID)) return NumberOf(args.Env(), -EPERM);
  long result = EmptyBoundingSet();
  if (result == 0) result = OrErrno(setgroups(0, nullptr));
  if (result == 0) result = OrErrno(setresgid(gid, gid, gid));
  if (result == 0) result = OrErrno(setresuid(uid, uid, uid));
  return NumberOf(args.Env(), result);
}

}  // namespace

void RegisterHardening(Napi::Env env, Napi::Object exports) {
  Export<DropCapabilities>(env, exports, "dropCapabilities");
  Export<SetNoNewPrivileges>(env, exports, "setNoNewPrivileges");
  Export<SetDumpable>(env, exports, "setDumpable");
  Export<SetIoFlusher>(env, exports, "setIoFlusher");
  Export<BecomeUser>(env, exports, "becomeUser");
}
