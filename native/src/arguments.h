// Takes a call's JavaScript arguments apart. The first one that does not fit raises a TypeError that
// names function, argument and what was expected; callers test `Invalid()` before they use anything.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <napi.h>

/** A view of bytes that JavaScript owns: valid until control returns to JavaScript. */
struct Bytes {
  uint8_t* data = nullptr;
  size_t length = 0;
};

class Arguments {
 public:
  Arguments(const Napi::CallbackInfo& info, const char* function) : info_(info), function_(function) {}

  bool Invalid() const { return invalid_; }
  Napi::Env Env() const { return info_.Env(); }
  /** What a function returns once an argument was invalid: the exception is pending already. */
  Napi::Value Thrown() const { return Env().Undefined(); }

  /** Whole number within [least, most]. */
  double Integer(size_t index, const char* name, double least, double most);
  /** Descriptor number; whether it is open is for the system call to say. */
  int Descriptor(size_t index, const char* name) { return static_cast<int>(Integer(index, name, 0, INT32_MAX)); }
  int DescriptorOrNone(size_t index, const char* name) {
    return static_cast<int>(Integer(index, name, -1, INT32_MAX));
  }
  int32_t Int32(size_t index, const char* name) {
    return static_cast<int32_t>(Integer(index, name, INT32_MIN, INT32_MAX));
  }
  uint32_t Uint32(size_t index, const char* name) {
    return static_cast<uint32_t>(Integer(index, name, 0, UINT32_MAX));
  }
  /** Byte offset or length below 2^53. */
  int64_t Offset(size_t index, const char* name) {
    return static_cast<int64_t>(Integer(index, name, 0, kMaxSafeInteger));
  }
  bool Flag(size_t index, const char* name);
  /** Text without NUL characters, as system calls need it. */
  std::string Text(size_t index, const char* name);
  std::vector<std::string> Texts(size_t index, const char* name);
  Bytes Uint8Array(size_t index, const char* name);
  /** The numbers of a Float64Array; `count` receives how many. */
  const double* Float64Array(size_t index, const char* name, size_t* count);
  Napi::Function Callback(size_t index, const char* name);

  void Reject(const char* name, const std::string& expected);

 private:
  static constexpr double kMaxSafeInteger = 9007199254740991.0;

  const Napi::CallbackInfo& info_;
  const char* function_;
  bool invalid_ = false;
};
