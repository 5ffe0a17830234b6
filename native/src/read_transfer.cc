#include "read_transfer.h"

#include <linux/fuse.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "system_call.h"

namespace {

size_t RoundUp(size_t value, size_t powerOfTwo) { return (value + powerOfTwo - 1) & ~(powerOfTwo - 1); }

}  // namespace

void ReadTransfer::Serve(const ReadRequest& request) {
  int error = Collect(request);
  if (error == 0) error = Reply(request.unique, request.totalBytes);
  if (error != 0) ReplyError(request.unique, error);
}

/** Fills the parts after the header. 0 or a positive errno. */
int ReadTransfer::Collect(const ReadRequest& request) {
  used_ = 0;
  partCount_ = 1;
  if (!Reserve(request)) return ENOMEM;
  for (const Segment& segment : request.segments) {
    if (segment.offset == Segment::kZeros) {
      AppendZeros(segment.length);
    } else {
      const int error = ReadDevice(segment);
      if (error != 0) return error;
    }
  }
  return 0;
}

/** Makes the buffer large enough for every segment with an aligned head and tail around it. */
bool ReadTransfer::Reserve(const ReadRequest& request) {
  const size_t needed = request.totalBytes + 3 * route_.alignment * (request.segments.size() + 1);
  if (buffer_ == nullptr || buffer_->length() < needed) buffer_ = AlignedMemory::Allocate(needed);
  return buffer_ != nullptr;
}

/** Reads the aligned range around the segment; the answer then points at the wanted bytes within. */
int ReadTransfer::ReadDevice(const Segment& segment) {
  const size_t lead = static_cast<size_t>(segment.offset) & (route_.alignment - 1);
  const size_t wantedEnd = lead + segment.length;
  const size_t span = RoundUp(wantedEnd, route_.alignment);
  const off_t start = segment.offset - static_cast<off_t>(lead);
  used_ = RoundUp(used_, route_.alignment);
  uint8_t* into = buffer_->data() + used_;
  for (size_t done = 0; done < wantedEnd;) {
    const ssize_t count = RetryInterrupted(
        [&] { return pread(route_.deviceFd, into + done, span - done, start + static_cast<off_t>(done)); });
    if (count < 0) return errno;
    done += static_cast<size_t>(count);
    // The device ends here. Only what lies behind the wanted bytes may be missing.
    const bool ended = count == 0 || (done & (route_.alignment - 1)) != 0;
    if (ended && done < wantedEnd) return EIO;
  }
  used_ += wantedEnd;
  AppendPart(into + lead, segment.length);
  return 0;
}

void ReadTransfer::AppendZeros(size_t length) {
  if (partCount_ < kMaxParts - 1) {
    parts_[partCount_++] = {route_.zeros->data(), length};
    return;
  }
  uint8_t* into = buffer_->data() + used_;
  std::memset(into, 0, length);
  used_ += length;
  AppendPart(into, length);
}

/** Adds bytes of the buffer to the answer. When parts run out, the bytes move up behind the last part. */
void ReadTransfer::AppendPart(uint8_t* bytes, size_t length) {
  iovec& last = parts_[partCount_ - 1];
  uint8_t* end = static_cast<uint8_t*>(last.iov_base) + last.iov_len;
  if (partCount_ > 1 && end == bytes) {
    last.iov_len += length;
  } else if (partCount_ < kMaxParts) {
    parts_[partCount_++] = {bytes, length};
  } else {
    std::memmove(end, bytes, length);
    last.iov_len += length;
  }
}

int ReadTransfer::Reply(uint64_t unique, size_t totalBytes) {
  fuse_out_header header = {static_cast<uint32_t>(sizeof header + totalBytes), 0, unique};
  parts_[0] = {&header, sizeof header};
  const ssize_t written = RetryInterrupted([&] { return writev(route_.channelFd, parts_, partCount_); });
  // ENOENT: the requester was interrupted and waits no more. ENODEV: unmounted.
  return written >= 0 || errno == ENOENT || errno == ENODEV ? 0 : EIO;
}

void ReadTransfer::ReplyError(uint64_t unique, int error) {
  const fuse_out_header header = {sizeof header, -error, unique};
  // Nobody is left to tell when this fails too: the request is gone, or the mount is.
  (void)!RetryInterrupted([&] { return write(route_.channelFd, &header, sizeof header); });
}
