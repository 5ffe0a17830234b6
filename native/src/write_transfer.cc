#include "write_transfer.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "system_call.h"

int WriteTransfer::Write(const WriteRequest& request) {
  const uint8_t* bytes = Aligned(request.bytes, request.totalBytes);
  if (bytes == nullptr) return ENOMEM;
  for (const Segment& segment : request.segments) {
    const int error = WriteDevice(bytes, segment);
    if (error != 0) return error;
    bytes += segment.length;
  }
  return 0;
}

/** The bytes where a transfer may take them from, or null when there is no memory. */
const uint8_t* WriteTransfer::Aligned(const uint8_t* bytes, size_t length) {
  if ((reinterpret_cast<uintptr_t>(bytes) & (route_.alignment - 1)) == 0) return bytes;
  if (bounce_ == nullptr || bounce_->length() < length) bounce_ = AlignedMemory::Allocate(length);
  if (bounce_ == nullptr) return nullptr;
  std::memcpy(bounce_->data(), bytes, length);
  return bounce_->data();
}

int WriteTransfer::WriteDevice(const uint8_t* bytes, const Segment& segment) const {
  for (size_t done = 0; done < segment.length;) {
    const ssize_t count = RetryInterrupted([&] {
      return pwrite(route_.deviceFd, bytes + done, segment.length - done, segment.offset + static_cast<off_t>(done));
    });
    if (count < 0) return errno;
    if (count == 0) return EIO;
    done += static_cast<size_t>(count);
  }
  return 0;
}
