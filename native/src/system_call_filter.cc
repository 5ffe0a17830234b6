// The system calls that a server needs once it holds all its descriptors. The tables below are the whole policy:
// what they don't name fails with EPERM, in every thread, for good (seccomp(2)).
#include <asm/unistd.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstddef>
#include <vector>

#include "registration.h"
#include "system_call.h"

namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "No list of system calls for this processor."
#endif

constexpr uint32_t kRefused = SECCOMP_RET_ERRNO | EPERM;
/** What the C library takes as "this kernel is older". */
constexpr uint32_t kUnknown = SECCOMP_RET_ERRNO | ENOSYS;

/**
 * Allowed with any arguments. Descriptors are used and closed, never made from a name; the memory calls serve V8, which
 * compiles at run time. Calls that only newer kernels, or only some processors, have are left out elsewhere.
 */
constexpr int kAllowed[] = {
    // Devices, the kernel's requests, log, and the sockets that were handed over.
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_preadv2,
    SYS_pwritev2, SYS_lseek, SYS_close, SYS_fstat, SYS_fsync, SYS_fdatasync, SYS_fallocate, SYS_fadvise64,
    SYS_readahead, SYS_sync_file_range, SYS_recvmsg, SYS_recvfrom, SYS_shutdown, SYS_getsockname, SYS_getsockopt,
    SYS_dup, SYS_dup3,
    // With a name instead of a descriptor they tell about a file, but give nothing of its content.
    SYS_newfstatat, SYS_statx,
    // Event loop.
    SYS_epoll_pwait, SYS_epoll_ctl, SYS_epoll_create1, SYS_eventfd2, SYS_ppoll, SYS_pipe2,
    // Memory.
    SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise, SYS_brk, SYS_pkey_alloc, SYS_pkey_free,
    SYS_pkey_mprotect, SYS_membarrier,
    // Threads, and how they wait for each other.
    SYS_futex, SYS_set_robust_list, SYS_rseq, SYS_set_tid_address, SYS_sched_yield, SYS_sched_getaffinity, SYS_exit,
    SYS_exit_group,
    // Signals to ourselves.
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_restart_syscall,
    // Clocks, and questions about ourselves.
    SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_getrandom,
    SYS_getpid, SYS_getppid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getcpu, SYS_getrusage,
    SYS_times, SYS_sysinfo, SYS_uname, SYS_capget,
#ifdef __x86_64__
    SYS_poll, SYS_epoll_wait, SYS_time,
#endif
};

/** Allowed when the low half of an argument is one of these values: the kernel looks at no more of it. */
struct Choice {
  int call;
  unsigned argument;
  std::vector<uint32_t> values;
};

// Numbers of include/uapi/linux/fuse.h and of the iomap patches, which C libraries' headers lack.
constexpr uint32_t kFuseDeviceRequests[] = {
    0x8004e500,  // CLONE
    0x4010e501,  // BACKING_OPEN
    0x4004e502,  // BACKING_CLOSE
    0x8010e563,  // IOMAP_SUPPORT
    0x4004e564,  // SET_NOFS
    0x4008e566,  // SET_BLOCKSIZE
    0x4010e567,  // STRIPE_CONFIG
};
// include/uapi/linux/fs.h.
constexpr uint32_t kBlockDeviceRequests[] = {
    0x1261,      // BLKFLSBUF
    0x1268,      // BLKSSZGET
    0x1277,      // BLKDISCARD
    0x80081272,  // BLKGETSIZE64
    0x40081271,  // BLKBSZSET
};
/** The event loop sets descriptors that it watches to non-blocking this way (asm-generic/ioctls.h). */
constexpr uint32_t kSetNonBlocking = 0x5421;
/** Newer than some headers: names a mapping in /proc/PID/maps. V8 and C libraries use it. */
constexpr uint32_t kSetMappingName = 0x53564d41;

std::vector<uint32_t> IoctlRequests() {
  std::vector<uint32_t> requests(std::begin(kFuseDeviceRequests), std::end(kFuseDeviceRequests));
  requests.insert(requests.end(), std::begin(kBlockDeviceRequests), std::end(kBlockDeviceRequests));
  requests.push_back(kSetNonBlocking);
  return requests;
}

std::vector<Choice> Choices() {
  return {
      {SYS_ioctl, 1, IoctlRequests()},
      {SYS_fcntl, 1, {F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_OFD_SETLK}},
      {SYS_prctl, 0, {PR_SET_NAME, PR_GET_NAME, kSetMappingName}},
      // The address has no bytes: a datagram socket sends to nobody but whom it was connected to. (sendmsg, which has
      // its address in memory, and can give descriptors away, is not allowed at all.)
      {SYS_sendto, 5, {0}},
      // What abort(3) does to its own thread.
      {SYS_tgkill, 0, {static_cast<uint32_t>(getpid())}},
  };
}

/** A new thread, of this process and in its namespaces. */
constexpr uint32_t kCloneThread = CLONE_THREAD;
constexpr uint32_t kCloneJudged = CLONE_THREAD | CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                  CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_PTRACE;

constexpr uint32_t OffsetOfArgument(unsigned argument) {
  // Both processors are little endian: the low half comes first.
  return static_cast<uint32_t>(offsetof(seccomp_data, args) + argument * sizeof(uint64_t));
}

/** A program of the kernel's packet filter machine. */
class Program {
 public:
  void Load(uint32_t offset) { code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)); }
  void Mask(uint32_t bits) { code_.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, bits)); }
  void Return(uint32_t action) { code_.push_back(BPF_STMT(BPF_RET | BPF_K, action)); }
  void ReturnIfEqual(uint32_t value, uint32_t action) {
    SkipUnlessEqual(value, 1);
    Return(action);
  }
  void SkipUnlessEqual(uint32_t value, size_t instructions) {
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, static_cast<uint8_t>(instructions)));
  }

  void SkipIfEqual(uint32_t value, size_t instructions) {
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, static_cast<uint8_t>(instructions), 0));
  }

  long InstallInAllThreads() {
    const sock_fprog program = {static_cast<uint16_t>(code_.size()), code_.data()};
    const long result = OrErrno(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program));
    return result > 0 ? -EBUSY : result;  // Positive: the thread whose own filter stands in the way.
  }

 private:
  std::vector<sock_filter> code_;
};

void AddChoice(Program& program, const Choice& choice) {
  program.SkipUnlessEqual(static_cast<uint32_t>(choice.call), 2 * choice.values.size() + 2);
  program.Load(OffsetOfArgument(choice.argument));
  for (const uint32_t value : choice.values) program.ReturnIfEqual(value, SECCOMP_RET_ALLOW);
  program.Return(kRefused);
}

void AddThreads(Program& program) {
  // Its arguments are in memory, which a filter can't read; without it the C library uses the older call.
  program.ReturnIfEqual(SYS_clone3, kUnknown);
  program.SkipUnlessEqual(SYS_clone, 5);
  program.Load(OffsetOfArgument(0));
  program.Mask(kCloneJudged);
  program.ReturnIfEqual(kCloneThread, SECCOMP_RET_ALLOW);
  program.Return(kRefused);
}

/**
 * The calls allowed with any arguments cost next to nothing: the kernel finds them when the filter is installed, and
 * then doesn't run it for them (since 5.11).
 */
Napi::Value RestrictSystemCalls(const Napi::CallbackInfo& info) {
  Program program;
  program.Load(offsetof(seccomp_data, arch));
  // Calls by another processor's conventions have other numbers.
  program.SkipIfEqual(kArchitecture, 1);
  program.Return(SECCOMP_RET_KILL_PROCESS);
  program.Load(offsetof(seccomp_data, nr));
  for (const int call : kAllowed) program.ReturnIfEqual(static_cast<uint32_t>(call), SECCOMP_RET_ALLOW);
  for (const Choice& choice : Choices()) AddChoice(program, choice);
  AddThreads(program);
  program.Return(kRefused);
  return NumberOf(info.Env(), program.InstallInAllThreads());
}

}  // namespace

void RegisterSystemCallFilter(Napi::Env env, Napi::Object exports) {
  Export<RestrictSystemCalls>(env, exports, "restrictSystemCalls");
}
