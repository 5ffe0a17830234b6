// Flush and discard: slow, so they run on a thread and report back on the main one.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/falloc.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "arguments.h"
#include "registration.h"
#include "serving_thread.h"
#include "system_call.h"

namespace {

/**
 * Runs one operation on a thread of the event loop and hands its errno (0: success) to the callback. Works
 * on a duplicate of the descriptor, because JavaScript may close its own, and the number be given away, meanwhile.
 */
class DeviceWork : public Napi::AsyncWorker {
 public:
  DeviceWork(const Napi::Function& completion, int fd)
      : AsyncWorker(completion), fd_(fcntl(fd, F_DUPFD_CLOEXEC, 0)), error_(fd_.get() < 0 ? errno : 0) {}

 protected:
  virtual long Operate(int fd) = 0;

 private:
  void Execute() final {
    ServingThread::Enter();
    if (error_ == 0) error_ = static_cast<int>(-Operate(fd_.get()));
  }
  void OnOK() final { Callback().Call({Napi::Number::New(Env(), error_)}); }

  FileDescriptor fd_;
  int error_;
};

class FlushWork : public DeviceWork {
 public:
  using DeviceWork::DeviceWork;

 private:
  long Operate(int fd) override {
    return OrErrno(RetryInterrupted([&] { return fsync(fd); }));
  }
};

class DiscardWork : public DeviceWork {
 public:
  DiscardWork(const Napi::Function& completion, int fd, int64_t offset, int64_t length)
      : DeviceWork(completion, fd), offset_(offset), length_(length) {}

 private:
  long Operate(int fd) override {
    struct stat status = {};
    if (fstat(fd, &status) < 0) return -errno;
    if (!S_ISBLK(status.st_mode))
      return OrErrno(RetryInterrupted(
          [&] { return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset_, length_); }));
    uint64_t range[2] = {static_cast<uint64_t>(offset_), static_cast<uint64_t>(length_)};
    return OrErrno(ioctl(fd, BLKDISCARD, range));
  }

  int64_t offset_;
  int64_t length_;
};

Napi::Value FlushDevice(const Napi::CallbackInfo& info) {
  Arguments args(info, "flushDevice");
  const int fd = args.Descriptor(0, "fd");
  const Napi::Function completion = args.Callback(1, "completion");
  if (!args.Invalid()) (new FlushWork(completion, fd))->Queue();  // Deletes itself once it has called back.
  return args.Thrown();
}

Napi::Value DiscardRange(const Napi::CallbackInfo& info) {
  Arguments args(info, "discardRange");
  const int fd = args.Descriptor(0, "fd");
  const int64_t offset = args.Offset(1, "offsetBytes");
  const int64_t length = args.Offset(2, "lengthBytes");
  const Napi::Function completion = args.Callback(3, "completion");
  if (!args.Invalid()) (new DiscardWork(completion, fd, offset, length))->Queue();
  return args.Thrown();
}

}  // namespace

void RegisterDeviceMaintenance(Napi::Env env, Napi::Object exports) {
  Export<FlushDevice>(env, exports, "flushDevice");
  Export<DiscardRange>(env, exports, "discardRange");
}
