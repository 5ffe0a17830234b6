// Positional, synchronous access to block devices and image files, and what the kernel says about them.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>

#include "aligned_memory.h"
#include "arguments.h"
#include "registration.h"
#include "system_call.h"

namespace {

Napi::Value BlockDeviceSize(const Napi::CallbackInfo& info) {
  Arguments args(info, "blockDeviceSize");
  const int fd = args.Descriptor(0, "fd");
  if (args.Invalid()) return args.Thrown();
  uint64_t bytes = 0;
  const long result = OrErrno(ioctl(fd, BLKGETSIZE64, &bytes));
  return NumberOf(args.Env(), result < 0 ? result : static_cast<long>(bytes));
}

/** Kernels older than the statx answer (6.1; block devices 6.11) leave a block device's sector size, or the page. */
long AlignmentFallback(int fd) {
  int sectorBytes = 0;
  if (ioctl(fd, BLKSSZGET, &sectorBytes) == 0) return sectorBytes;
  return errno == ENOTTY ? 4096 : -static_cast<long>(errno);
}

Napi::Value DirectIoAlignment(const Napi::CallbackInfo& info) {
  Arguments args(info, "directIoAlignment");
  const int fd = args.Descriptor(0, "fd");
  if (args.Invalid()) return args.Thrown();
  struct statx status = {};
  long result = OrErrno(statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status));
  if (result == 0) {
    const uint32_t bytes = std::max(status.stx_dio_mem_align, status.stx_dio_offset_align);
    if ((status.stx_mask & STATX_DIOALIGN) == 0) result = AlignmentFallback(fd);
    else result = bytes == 0 ? -EOPNOTSUPP : static_cast<long>(bytes);
  }
  return NumberOf(args.Env(), result);
}

Napi::Value SetBlockSize(const Napi::CallbackInfo& info) {
  Arguments args(info, "setBlockSize");
  const int fd = args.Descriptor(0, "fd");
  int bytes = args.Int32(1, "bytes");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(ioctl(fd, BLKBSZSET, &bytes)));
}

/** Repeats `transfer(done)` until `length` bytes are done. 0, or a negative errno; a transfer of nothing is EIO. */
template <typename Transfer>
long TransferAll(size_t length, Transfer transfer) {
  size_t done = 0;
  while (done < length) {
    const long moved = OrErrno(RetryInterrupted([&] { return transfer(done); }));
    if (moved < 0) return moved;
    if (moved == 0) return -EIO;
    done += static_cast<size_t>(moved);
  }
  return 0;
}

Napi::Value ReadAt(const Napi::CallbackInfo& info) {
  Arguments args(info, "readAt");
  const int fd = args.Descriptor(0, "fd");
  const int64_t offset = args.Offset(1, "offsetBytes");
  const Bytes into = args.Uint8Array(2, "into");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), TransferAll(into.length, [&](size_t done) {
                    return pread(fd, into.data + done, into.length - done, offset + static_cast<off_t>(done));
                  }));
}

Napi::Value WriteAt(const Napi::CallbackInfo& info) {
  Arguments args(info, "writeAt");
  const int fd = args.Descriptor(0, "fd");
  const int64_t offset = args.Offset(1, "offsetBytes");
  const Bytes from = args.Uint8Array(2, "from");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), TransferAll(from.length, [&](size_t done) {
                    return pwrite(fd, from.data + done, from.length - done, offset + static_cast<off_t>(done));
                  }));
}

Napi::Value ReadAheadAt(const Napi::CallbackInfo& info) {
  Arguments args(info, "readAheadAt");
  const int fd = args.Descriptor(0, "fd");
  const int64_t offset = args.Offset(1, "offsetBytes");
  const int64_t length = args.Offset(2, "lengthBytes");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), -posix_fadvise(fd, offset, length, POSIX_FADV_WILLNEED));
}

Napi::Value AlignedBuffer(const Napi::CallbackInfo& info) {
  Arguments args(info, "alignedBuffer");
  const auto length = static_cast<size_t>(args.Integer(0, "bytes", 1, 1 << 30));
  if (args.Invalid()) return args.Thrown();
  const auto memory = AlignedMemory::Allocate(length);
  if (memory != nullptr) return Uint8ArrayOver(args.Env(), memory, 0, length);
  Napi::RangeError::New(args.Env(), "alignedBuffer: out of memory").ThrowAsJavaScriptException();
  return args.Thrown();
}

}  // namespace

void RegisterBlockIo(Napi::Env env, Napi::Object exports) {
  Export<BlockDeviceSize>(env, exports, "blockDeviceSize");
  Export<DirectIoAlignment>(env, exports, "directIoAlignment");
  Export<SetBlockSize>(env, exports, "setBlockSize");
  Export<ReadAt>(env, exports, "readAt");
  Export<WriteAt>(env, exports, "writeAt");
  Export<ReadAheadAt>(env, exports, "readAheadAt");
  Export<AlignedBuffer>(env, exports, "alignedBuffer");
}
