// Messages to the kernel that it may take long over, because it asks us for something meanwhile.
#include <fcntl.h>
#include <unistd.h>

#include <vector>

#include "arguments.h"
#include "registration.h"
#include "serving_thread.h"
#include "system_call.h"

namespace {

/** Writes one message on a thread of the event loop and hands the errno (0: success) to the callback. */
class NotifyWork : public Napi::AsyncWorker {
 public:
  NotifyWork(const Napi::Function& completion, int fd, const Bytes& message)
      : AsyncWorker(completion), fd_(fcntl(fd, F_DUPFD_CLOEXEC, 0)), error_(fd_.get() < 0 ? errno : 0),
        message_(message.data, message.data + message.length) {}

 private:
  void Execute() override {
    if (error_ != 0) return;
    ServingThread::Enter();
    const long written =
        OrErrno(RetryInterrupted([&] { return write(fd_.get(), message_.data(), message_.size()); }));
    error_ = written < 0 ? static_cast<int>(-written) : 0;
  }
  void OnOK() override { Callback().Call({Napi::Number::New(Env(), error_)}); }

  FileDescriptor fd_;
  int error_;
  std::vector<uint8_t> message_;
};

Napi::Value FuseNotify(const Napi::CallbackInfo& info) {
  Arguments args(info, "fuseNotify");
  const int fd = args.Descriptor(0, "fd");
  const Bytes message = args.Uint8Array(1, "message");
  const Napi::Function completion = args.Callback(2, "completion");
  if (!args.Invalid()) (new NotifyWork(completion, fd, message))->Queue();  // Deletes itself once it has called back.
  return args.Thrown();
}

Napi::Value FuseNotifyNow(const Napi::CallbackInfo& info) {
  Arguments args(info, "fuseNotifyNow");
  const int fd = args.Descriptor(0, "fd");
  const Bytes message = args.Uint8Array(1, "message");
  const auto length = static_cast<size_t>(args.Integer(2, "length", 1, static_cast<double>(message.length)));
  if (args.Invalid()) return args.Thrown();
  const long written = OrErrno(RetryInterrupted([&] { return write(fd, message.data, length); }));
  return NumberOf(args.Env(), written < 0 ? -written : 0);
}

}  // namespace

void RegisterFuseNotify(Napi::Env env, Napi::Object exports) {
  Export<FuseNotify>(env, exports, "fuseNotify");
  Export<FuseNotifyNow>(env, exports, "fuseNotifyNow");
}
