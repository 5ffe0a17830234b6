// JavaScript's handle on the threads that write file data: it allocates, they move the bytes.
#include <poll.h>

#include <algorithm>
#include <memory>

#include "arguments.h"
#include "registration.h"
#include "system_call.h"
#include "transfer_pool.h"
#include "write_transfer.h"

namespace {

constexpr double kMaxAlignment = 65536;
constexpr double kMaxThreads = 64;
constexpr size_t kMaxWriteBytes = 1 << 26;
/** Up to here a write to the device costs less than waking a thread for it and being woken again. */
constexpr size_t kMaxInlineBytes = 16 * 1024;
constexpr int kUnderWay = -1;

using WritePool = TransferPool<WriteTransfer>;

class WritePump : public Napi::ObjectWrap<WritePump> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "WritePump",
                       {InstanceMethod<&WritePump::Write>("write"),
                        InstanceMethod<&WritePump::TakeCompleted>("takeCompleted"),
                        InstanceMethod<&WritePump::Wait>("wait"), InstanceMethod<&WritePump::Close>("close"),
                        InstanceAccessor<&WritePump::InFlight>("inFlight")});
  }

  explicit WritePump(const Napi::CallbackInfo& info);
  ~WritePump() override { Release(); }

 private:
  Napi::Value Write(const Napi::CallbackInfo& info);
  Napi::Value TakeCompleted(const Napi::CallbackInfo& info);
  Napi::Value Wait(const Napi::CallbackInfo& info);
  Napi::Value InFlight(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  bool WorthWritingHere(const WriteRequest& request) const;
  void Release();

  Napi::Env env_;
  WriteCompletions completions_;
  std::unique_ptr<WritePool> pool_;
  std::unique_ptr<WriteTransfer> here_;
  std::vector<WriteCompletion> taken_;
  /** Submitted and not taken yet. */
  size_t inFlight_ = 0;
};

/** Threads must have ended before the process takes its memory apart. */
void CloseAtExit(void* pool) { static_cast<WritePool*>(pool)->Close(); }

WritePump::WritePump(const Napi::CallbackInfo& info) : ObjectWrap(info), env_(info.Env()) {
  Arguments args(info, "WritePump");
  WriteRoute route = {};
  route.channelFd = args.Descriptor(0, "channelFd");
  route.deviceFd = args.Descriptor(1, "deviceFd");
  route.alignment = static_cast<size_t>(args.Integer(2, "alignment", 1, kMaxAlignment));
  const auto threads = static_cast<size_t>(args.Integer(3, "threads", 1, kMaxThreads));
  const Napi::Function onCompleted = args.Callback(4, "onCompleted");
  if (!args.Invalid() && (route.alignment & (route.alignment - 1)) != 0) args.Reject("alignment", "a power of two");
  if (args.Invalid()) return;
  if (MainThreadCall::Start(env_, "WritePump", onCompleted, completions_.callSlot()) != 0) {
    Napi::Error::New(env_, "WritePump: no event loop").ThrowAsJavaScriptException();
    return;
  }
  route.completions = &completions_;
  pool_ = std::make_unique<WritePool>(route, threads, "fuse4fs-write");
  here_ = std::make_unique<WriteTransfer>(pool_->route());
  napi_add_env_cleanup_hook(env_, CloseAtExit, pool_.get());
}

/** A small write with nothing beside it that it could hold up: neither other writes nor waiting requests. */
bool WritePump::WorthWritingHere(const WriteRequest& request) const {
  if (request.totalBytes > kMaxInlineBytes || inFlight_ != 0) return false;
  pollfd channel = {pool_->route().channelFd, POLLIN, 0};
  return poll(&channel, 1, 0) == 0;
}

Napi::Value WritePump::Write(const Napi::CallbackInfo& info) {
  Arguments args(info, "write");
  const uint32_t token = args.Uint32(0, "token");
  const Bytes bytes = args.Uint8Array(1, "bytes");
  const auto start = static_cast<size_t>(args.Integer(2, "start", 0, static_cast<double>(bytes.length)));
  size_t numbers = 0;
  const double* segments = args.Float64Array(3, "segments", &numbers);
  const auto count = static_cast<size_t>(args.Integer(4, "count", 1, static_cast<double>(numbers / 2)));
  if (args.Invalid()) return args.Thrown();
  if (pool_ == nullptr) {
    Napi::Error::New(env_, "write: the pump is closed").ThrowAsJavaScriptException();
    return args.Thrown();
  }
  WriteRequest* request = pool_->Take();
  request->token = token;
  request->bytes = bytes.data + start;
  const size_t limit = std::min(bytes.length - start, kMaxWriteBytes);
  request->totalBytes = AppendSegments(&request->segments, segments, count, 0, limit);
  if (request->totalBytes == 0) {
    pool_->Discard(request);
    args.Reject("segments", "pairs of offset (0 or more) and length (1 or more), within the bytes");
    return args.Thrown();
  }
  if (WorthWritingHere(*request)) {
    const int error = here_->Write(*request);
    pool_->Discard(request);
    return NumberOf(env_, error);
  }
  if (inFlight_++ == 0 && completions_.call() != nullptr) completions_.call()->KeepLoopAlive(true);
  pool_->Submit(request);
  return NumberOf(env_, kUnderWay);
}

Napi::Value WritePump::TakeCompleted(const Napi::CallbackInfo& info) {
  Arguments args(info, "takeCompleted");
  size_t numbers = 0;
  auto* into = const_cast<double*>(args.Float64Array(0, "into", &numbers));
  if (args.Invalid()) return args.Thrown();
  completions_.Take(&taken_);
  const size_t count = std::min(taken_.size(), numbers / 2);
  for (size_t i = 0; i < count; i++) {
    into[2 * i] = taken_[i].token;
    into[2 * i + 1] = taken_[i].error;
  }
  taken_.erase(taken_.begin(), taken_.begin() + static_cast<std::ptrdiff_t>(count));
  inFlight_ -= count;
  if (count > 0 && inFlight_ == 0 && completions_.call() != nullptr) completions_.call()->KeepLoopAlive(false);
  return NumberOf(env_, static_cast<long>(count));
}

Napi::Value WritePump::Wait(const Napi::CallbackInfo& info) {
  if (inFlight_ > 0 && taken_.empty()) completions_.WaitForOne();
  return info.Env().Undefined();
}

Napi::Value WritePump::InFlight(const Napi::CallbackInfo& info) {
  return NumberOf(info.Env(), static_cast<long>(inFlight_));
}

Napi::Value WritePump::Close(const Napi::CallbackInfo& info) {
  Release();
  return info.Env().Undefined();
}

void WritePump::Release() {
  if (pool_ == nullptr) return;
  napi_remove_env_cleanup_hook(env_, CloseAtExit, pool_.get());
  pool_->Close();
  if (completions_.call() != nullptr) completions_.call()->Close();
  here_.reset();
  pool_.reset();
}

}  // namespace

void RegisterWritePump(Napi::Env env, Napi::Object exports) { exports.Set("WritePump", WritePump::Define(env)); }
