// The /dev/fuse end of a mount: one call writes a reply and reads the next request.
#include <fcntl.h>
#include <linux/fuse.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "aligned_memory.h"
#include "arguments.h"
#include "readable_watcher.h"
#include "registration.h"
#include "spin_wait.h"
#include "system_call.h"

namespace {

constexpr size_t kPageBytes = 4096;
/** What precedes the payload of a WRITE request. Request buffers start so that the payload is page aligned. */
constexpr size_t kWriteHeaderBytes = sizeof(fuse_in_header) + sizeof(fuse_write_in);
static_assert(kWriteHeaderBytes == 80);
constexpr size_t kBufferStart = kPageBytes - kWriteHeaderBytes;
constexpr double kMaxRequestBuffers = 64;
/** The kernel refuses smaller read buffers, whatever was negotiated. */
constexpr double kMinRequestBytes = FUSE_MIN_READ_BUFFER;
constexpr double kMaxBufferBytes = 1 << 28;
constexpr double kMaxSpinMicroseconds = 1000;

class FuseChannel : public Napi::ObjectWrap<FuseChannel> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "FuseChannel",
                       {InstanceMethod<&FuseChannel::Exchange>("exchange"), InstanceMethod<&FuseChannel::Send>("send"),
                        InstanceMethod<&FuseChannel::Start>("start"), InstanceMethod<&FuseChannel::Close>("close")});
  }

  explicit FuseChannel(const Napi::CallbackInfo& info);
  ~FuseChannel() override { Release(); }

 private:
  Napi::Value Exchange(const Napi::CallbackInfo& info);
  Napi::Value Send(const Napi::CallbackInfo& info);
  Napi::Value Start(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  long Write(const uint8_t* bytes, size_t length);
  long ReadRequest(uint8_t* into);
  void Release();

  int fd_ = -1;
  size_t requestBytes_ = 0;
  size_t replyBytes_ = 0;
  /** The buffers begin `kBufferStart` bytes in. */
  std::vector<std::shared_ptr<AlignedMemory>> requestMemory_;
  std::shared_ptr<AlignedMemory> replyMemory_;
  SpinWait spin_{0};
  ReadableWatcher* watcher_ = nullptr;
};

FuseChannel::FuseChannel(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  Arguments args(info, "FuseChannel");
  const int fd = args.Descriptor(0, "fd");
  requestBytes_ = static_cast<size_t>(args.Integer(1, "requestBytes", kMinRequestBytes, kMaxBufferBytes));
  replyBytes_ = static_cast<size_t>(args.Integer(2, "replyBytes", sizeof(fuse_out_header), kMaxBufferBytes));
  const auto buffers = static_cast<size_t>(args.Integer(4, "requestBuffers", 1, kMaxRequestBuffers));
  spin_ = SpinWait(1000 * static_cast<int64_t>(args.Integer(3, "spinMicroseconds", 0, kMaxSpinMicroseconds)));
  if (args.Invalid()) return;
  for (size_t i = 0; i < buffers; i++) requestMemory_.push_back(AlignedMemory::Allocate(kPageBytes + requestBytes_));
  replyMemory_ = AlignedMemory::Allocate(replyBytes_);
  if (replyMemory_ == nullptr || std::count(requestMemory_.begin(), requestMemory_.end(), nullptr) > 0) {
    Napi::RangeError::New(info.Env(), "FuseChannel: out of memory").ThrowAsJavaScriptException();
    return;
  }
  auto requests = Napi::Array::New(info.Env(), buffers);
  for (uint32_t i = 0; i < buffers; i++)
    requests.Set(i, Uint8ArrayOver(info.Env(), requestMemory_[i], kBufferStart, requestBytes_));
  auto self = info.This().As<Napi::Object>();
  self.DefineProperties({
      Napi::PropertyDescriptor::Value("requests", requests),
      Napi::PropertyDescriptor::Value("reply", Uint8ArrayOver(info.Env(), replyMemory_, 0, replyBytes_)),
  });
  fd_ = fd;
}

/** 0 or a negative errno. The kernel takes a message whole or not at all. */
long FuseChannel::Write(const uint8_t* bytes, size_t length) {
  const long written = OrErrno(RetryInterrupted([&] { return write(fd_, bytes, length); }));
  return written < 0 ? written : 0;
}

long FuseChannel::ReadRequest(uint8_t* into) {
  for (;;) {
    const long length = OrErrno(read(fd_, into, requestBytes_));
    // The device never gives an empty message. A socket in its place does when its other end is gone.
    if (length == 0) return -ENODEV;
    if (length > 0) return length;
    if (length == -EAGAIN) return 0;
    // ENOENT: this request was interrupted while it was handed over; the next one may be fine.
    if (length != -EINTR && length != -ENOENT) return length;
  }
}

Napi::Value FuseChannel::Exchange(const Napi::CallbackInfo& info) {
  Arguments args(info, "exchange");
  const auto replyLength =
      static_cast<size_t>(args.Integer(0, "replyLength", 0, static_cast<double>(replyBytes_)));
  const auto buffer =
      static_cast<size_t>(args.Integer(1, "buffer", 0, static_cast<double>(requestMemory_.size()) - 1));
  if (args.Invalid()) return args.Thrown();
  if (fd_ < 0) return NumberOf(args.Env(), -EBADF);
  if (replyLength > 0) {
    const long failure = Write(replyMemory_->data(), replyLength);
    // ENOENT: the requester was interrupted and does not wait for this reply any more.
    if (failure < 0 && failure != -ENOENT) return NumberOf(args.Env(), failure);
  }
  uint8_t* into = requestMemory_[buffer]->data() + kBufferStart;
  long length = ReadRequest(into);
  if (length == 0 && replyLength > 0) length = spin_.Until([&] { return ReadRequest(into); });
  return NumberOf(args.Env(), length);
}

Napi::Value FuseChannel::Send(const Napi::CallbackInfo& info) {
  Arguments args(info, "send");
  const Bytes bytes = args.Uint8Array(0, "bytes");
  const auto length = static_cast<size_t>(args.Integer(1, "length", 0, static_cast<double>(bytes.length)));
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), fd_ < 0 ? -EBADF : Write(bytes.data, length));
}

Napi::Value FuseChannel::Start(const Napi::CallbackInfo& info) {
  Arguments args(info, "start");
  const Napi::Function onReadable = args.Callback(0, "onReadable");
  if (args.Invalid()) return args.Thrown();
  if (watcher_ != nullptr) {
    Napi::Error::New(args.Env(), "start: the channel was started before").ThrowAsJavaScriptException();
    return args.Thrown();
  }
  const int failure = fd_ < 0 ? -EBADF : ReadableWatcher::Start(args.Env(), fd_, UV_READABLE, onReadable, &watcher_);
  if (watcher_ != nullptr) Ref();  // Not collected while the event loop may call.
  if (failure != 0) onReadable.Call({Napi::Number::New(args.Env(), -failure)});
  return args.Env().Undefined();
}

Napi::Value FuseChannel::Close(const Napi::CallbackInfo& info) {
  if (watcher_ != nullptr) Unref();
  Release();
  return info.Env().Undefined();
}

void FuseChannel::Release() {
  if (watcher_ != nullptr) watcher_->Close();
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

}  // namespace

void RegisterFuseChannel(Napi::Env env, Napi::Object exports) { exports.Set("FuseChannel", FuseChannel::Define(env)); }
