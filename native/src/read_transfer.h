// One READ request on its way from the device to the kernel: used by one thread at a time.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "aligned_memory.h"
#include "segment.h"

struct ReadRequest {
  uint64_t unique = 0;
  size_t totalBytes = 0;
  std::vector<Segment> segments;
  ReadRequest* next = nullptr;

  void Reset() {
    segments.clear();
    totalBytes = 0;
  }
};

/** Where data comes from and goes to; the same for all transfers of a pump. */
struct ReadRoute {
  int channelFd;
  int deviceFd;
  /** Power of two: device offsets, lengths and memory addresses of transfers are multiples of it. */
  size_t alignment;
  /** Read-only zero pages, as long as the longest answer. */
  std::shared_ptr<AlignedMemory> zeros;
};

class ReadTransfer {
 public:
  using Request = ReadRequest;
  using Route = ReadRoute;

  explicit ReadTransfer(const ReadRoute& route) : route_(route) {}

  /** Reads what the request wants and answers it; a failure is answered with its errno. */
  void Serve(const ReadRequest& request);

 private:
  /** UIO_MAXIOV of the kernel; the first part is the reply header. */
  static constexpr int kMaxParts = 1024;

  int Collect(const ReadRequest& request);
  bool Reserve(const ReadRequest& request);
  int ReadDevice(const Segment& segment);
  void AppendZeros(size_t length);
  void AppendPart(uint8_t* bytes, size_t length);
  int Reply(uint64_t unique, size_t totalBytes);
  void ReplyError(uint64_t unique, int error);

  const ReadRoute& route_;
  std::shared_ptr<AlignedMemory> buffer_;
  /** Bytes of the buffer that hold data of the present request. */
  size_t used_ = 0;
  iovec parts_[kMaxParts] = {};
  int partCount_ = 0;
};
