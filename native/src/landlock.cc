// No access to files, to the network and to processes outside, by the kernel's own rules (landlock(7)): a second lock
// beside the system call filter. The rules bind one thread and those it starts; Node has threads before any of our code
// runs, so each thread is made to bind itself, from a signal handler.
#include <dirent.h>
#include <signal.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <vector>

#include "registration.h"
#include "system_call.h"

namespace {

// From include/uapi/linux/landlock.h; older headers lack parts of it.
#ifndef SYS_landlock_create_ruleset
constexpr long SYS_landlock_create_ruleset = 444;
constexpr long SYS_landlock_restrict_self = 446;
#endif
struct RulesetAttributes {
  uint64_t handledAccessFs;
  uint64_t handledAccessNet;
  uint64_t scoped;
};
constexpr uint32_t kAskVersion = 1;

constexpr uint64_t LowBits(unsigned count) { return (uint64_t{1} << count) - 1; }

/** Everything that the kernel's version of the interface can refuse, and no rule that allows any of it. */
RulesetAttributes RefuseEverything(long version) {
  RulesetAttributes attributes = {};
  attributes.handledAccessFs = LowBits(version >= 5 ? 16 : version >= 3 ? 15 : version >= 2 ? 14 : 13);
  if (version >= 4) attributes.handledAccessNet = LowBits(2);
  if (version >= 6) attributes.scoped = LowBits(2);
  return attributes;
}

/**
 * The signal that the C library keeps for pthread_cancel, which nobody here calls: the one kind that a thread which
 * blocks "all" signals takes nevertheless. Node has such a thread.
 */
constexpr int kUnblockableSignal = 32;
/** Node, the event loop's pool and our pumps have some 30. */
constexpr size_t kThreadsMax = 256;
constexpr int kPatienceMs = 5'000;

std::atomic<int> g_ruleset{-1};
std::atomic<int> g_error{0};
std::atomic<size_t> g_bound{0};
std::array<std::atomic<pid_t>, kThreadsMax> g_threads;

long BindThisThread() { return OrErrno(syscall(SYS_landlock_restrict_self, g_ruleset.load(), 0)); }

void OnSignal(int) {
  const int saved = errno;
  const long result = BindThisThread();
  if (result < 0) g_error.store(static_cast<int>(-result));
  const size_t place = g_bound.fetch_add(1);
  if (place < kThreadsMax) g_threads[place].store(static_cast<pid_t>(syscall(SYS_gettid)));
  errno = saved;
}

/**
 * sigaction(2) as the kernel takes it: handler, flags, return path, mask. The C library refuses to touch the signal
 * that we want, and has the return path; so the kernel's record of another signal is copied.
 */
using KernelAction = std::array<unsigned long, 4>;
constexpr size_t kMaskBytes = 8;

class BorrowedSignal {
 public:
  BorrowedSignal() {
    struct sigaction ours = {};
    struct sigaction other = {};
    ours.sa_handler = OnSignal;
    ours.sa_flags = SA_RESTART;
    KernelAction action = {};
    if (sigaction(SIGRTMAX, &ours, &other) < 0) return;
    isSet_ = syscall(SYS_rt_sigaction, SIGRTMAX, nullptr, action.data(), kMaskBytes) == 0 &&
             syscall(SYS_rt_sigaction, kUnblockableSignal, action.data(), before_.data(), kMaskBytes) == 0;
    sigaction(SIGRTMAX, &other, nullptr);
  }
  BorrowedSignal(const BorrowedSignal&) = delete;
  BorrowedSignal& operator=(const BorrowedSignal&) = delete;
  ~BorrowedSignal() {
    if (isSet_) syscall(SYS_rt_sigaction, kUnblockableSignal, before_.data(), nullptr, kMaskBytes);
  }

  bool IsSet() const { return isSet_; }

 private:
  KernelAction before_ = {};
  bool isSet_ = false;
};

bool HasBoundItself(pid_t thread) {
  const size_t count = std::min(g_bound.load(), kThreadsMax);
  return std::any_of(g_threads.begin(), g_threads.begin() + count, [&](auto& bound) { return bound == thread; });
}

bool Exists(pid_t thread) { return syscall(SYS_tgkill, getpid(), thread, 0) == 0; }

long AwaitThread(pid_t thread) {
  for (int ms = 0; ms < kPatienceMs && Exists(thread); ms++) {
    if (HasBoundItself(thread)) return 0;
    const timespec pause = {0, 1'000'000};
    nanosleep(&pause, nullptr);
  }
  return !Exists(thread) || HasBoundItself(thread) ? 0 : -ETIMEDOUT;
}

/** Threads that the directory lists and that are not known yet. */
std::vector<pid_t> NewThreads(DIR* directory, std::vector<pid_t>& known) {
  std::vector<pid_t> found;
  rewinddir(directory);
  for (const dirent* entry = readdir(directory); entry != nullptr; entry = readdir(directory)) {
    const pid_t thread = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (thread <= 0 || std::find(known.begin(), known.end(), thread) != known.end()) continue;
    found.push_back(thread);
    known.push_back(thread);
  }
  return found;
}

/** Threads that another one starts meanwhile may come into being unbound: until a look finds no new one. */
long BindOtherThreads(DIR* directory) {
  std::vector<pid_t> known = {static_cast<pid_t>(syscall(SYS_gettid))};
  for (auto found = NewThreads(directory, known); !found.empty(); found = NewThreads(directory, known)) {
    if (known.size() > kThreadsMax) return -EAGAIN;
    for (const pid_t thread : found) syscall(SYS_tgkill, getpid(), thread, kUnblockableSignal);
    for (const pid_t thread : found) {
      const long result = AwaitThread(thread);
      if (result < 0) return result;
    }
  }
  return -g_error.load();
}

long BindAllThreads(long version) {
  // Opened before we may no longer open it.
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir("/proc/self/task"), closedir);
  if (!directory) return -errno;
  const RulesetAttributes attributes = RefuseEverything(version);
  const FileDescriptor ruleset(
      static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0)));
  if (ruleset.get() < 0) return -errno;
  g_ruleset.store(ruleset.get());
  const BorrowedSignal signal;
  if (!signal.IsSet()) return -EINVAL;
  const long result = BindThisThread();
  return result < 0 ? result : BindOtherThreads(directory.get());
}

/** The version of the interface that now binds all threads, or a negative errno: ENOSYS or EOPNOTSUPP without it. */
Napi::Value DenyOutsideAccess(const Napi::CallbackInfo& info) {
  const long version = OrErrno(syscall(SYS_landlock_create_ruleset, nullptr, 0, kAskVersion));
  const long result = version < 0 ? version : BindAllThreads(version);
  return NumberOf(info.Env(), result < 0 ? result : version);
}

}  // namespace

void RegisterLandlock(Napi::Env env, Napi::Object exports) {
  Export<DenyOutsideAccess>(env, exports, "denyOutsideAccess");
}
