// One WRITE's data on its way from a request buffer to the device: used by one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "aligned_memory.h"
#include "segment.h"
#include "write_completions.h"

struct WriteRequest {
  /** What the owner knows the write by. */
  uint32_t token = 0;
  /** The owner's; stays as it is until the write is completed. */
  const uint8_t* bytes = nullptr;
  size_t totalBytes = 0;
  std::vector<Segment> segments;
  WriteRequest* next = nullptr;

  void Reset() {
    segments.clear();
    totalBytes = 0;
  }
};

/** Where data goes; the same for all transfers of a pump. */
struct WriteRoute {
  int channelFd;
  int deviceFd;
  /** Power of two: device offsets, lengths and memory addresses of transfers are multiples of it. */
  size_t alignment;
  WriteCompletions* completions;
};

class WriteTransfer {
 public:
  using Request = WriteRequest;
  using Route = WriteRoute;

  explicit WriteTransfer(const WriteRoute& route) : route_(route) {}

  /** Writes and reports the completion. */
  void Serve(const WriteRequest& request) { route_.completions->Add(request.token, Write(request)); }

  /** Writes all segments. 0 or a positive errno. */
  int Write(const WriteRequest& request);

 private:
  const uint8_t* Aligned(const uint8_t* bytes, size_t length);
  int WriteDevice(const uint8_t* bytes, const Segment& segment) const;

  const WriteRoute& route_;
  std::shared_ptr<AlignedMemory> bounce_;
};
