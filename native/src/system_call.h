// Results of system calls as the TypeScript side wants them, and owners for what they return.
#pragma once

#include <cerrno>
#include <unistd.h>

#include <napi.h>

/** A system call's result, or the negative errno when it failed. */
template <typename Result>
inline long OrErrno(Result result) {
  return result < 0 ? -static_cast<long>(errno) : static_cast<long>(result);
}

/** Repeats a system call that a signal interrupted. */
template <typename Call>
inline auto RetryInterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

inline Napi::Value NumberOf(Napi::Env env, long value) {
  return Napi::Number::New(env, static_cast<double>(value));
}

/** Owns a descriptor until it is released. */
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }

  int get() const { return fd_; }
  int Release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_;
};
