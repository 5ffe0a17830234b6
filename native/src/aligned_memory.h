// Page-aligned memory that native code and JavaScript share: it goes away when neither needs it any more.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <memory>

#include <napi.h>

class AlignedMemory {
 public:
  /** Zero-filled anonymous pages, or null when there is no memory. Pages cost nothing before they are touched. */
  static std::shared_ptr<AlignedMemory> Allocate(size_t length, int protection = PROT_READ | PROT_WRITE) {
    void* data = mmap(nullptr, length, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return nullptr;
    return std::shared_ptr<AlignedMemory>(new AlignedMemory(static_cast<uint8_t*>(data), length));
  }
  AlignedMemory(const AlignedMemory&) = delete;
  AlignedMemory& operator=(const AlignedMemory&) = delete;
  ~AlignedMemory() { munmap(data_, length_); }

  uint8_t* data() const { return data_; }
  size_t length() const { return length_; }

 private:
  AlignedMemory(uint8_t* data, size_t length) : data_(data), length_(length) {}

  uint8_t* data_;
  size_t length_;
};

/** A Uint8Array over part of `memory`; the array keeps its own share of the memory until it is collected. */
inline Napi::Value Uint8ArrayOver(Napi::Env env, const std::shared_ptr<AlignedMemory>& memory, size_t start,
                                  size_t length) {
  auto* share = new std::shared_ptr<AlignedMemory>(memory);
  auto buffer = Napi::ArrayBuffer::New(
      env, memory->data() + start, length,
      [](Napi::Env, void*, std::shared_ptr<AlignedMemory>* ended) { delete ended; }, share);
  if (buffer.IsEmpty()) {
    delete share;
    return env.Undefined();
  }
  return Napi::Uint8Array::New(env, length, buffer, 0);
}
