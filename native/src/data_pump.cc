// JavaScript's handle on the threads that answer READ requests: it maps, they move the bytes.
#include <linux/fuse.h>
#include <poll.h>

#include <memory>

#include "arguments.h"
#include "read_transfer.h"
#include "registration.h"
#include "transfer_pool.h"

namespace {

constexpr double kMaxAlignment = 65536;
constexpr double kMaxThreads = 64;
constexpr double kMaxReadLimit = 1 << 26;
/** Up to here a read from the device costs less than waking a thread for it and being woken again. */
constexpr size_t kMaxInlineBytes = 16 * 1024;

using ReadPool = TransferPool<ReadTransfer>;

class DataPump : public Napi::ObjectWrap<DataPump> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "DataPump",
                       {InstanceMethod<&DataPump::ReplyRead>("replyRead"), InstanceMethod<&DataPump::Close>("close"),
                        InstanceMethod<&DataPump::WaitUntilIdle>("waitUntilIdle"),
                        InstanceAccessor<&DataPump::InFlight>("inFlight")});
  }

  explicit DataPump(const Napi::CallbackInfo& info);
  ~DataPump() override { Release(); }

 private:
  Napi::Value ReplyRead(const Napi::CallbackInfo& info);
  Napi::Value InFlight(const Napi::CallbackInfo& info);
  Napi::Value WaitUntilIdle(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  bool WorthServingHere(const ReadRequest& request) const;
  void Release();

  size_t maxReadBytes_ = 0;
  std::unique_ptr<ReadPool> pool_;
  Napi::Env env_;
};

/** Threads must have ended before the process takes its memory apart. */
void CloseAtExit(void* pool) { static_cast<ReadPool*>(pool)->Close(); }

DataPump::DataPump(const Napi::CallbackInfo& info) : ObjectWrap(info), env_(info.Env()) {
  Arguments args(info, "DataPump");
  ReadRoute route = {};
  route.channelFd = args.Descriptor(0, "channelFd");
  route.deviceFd = args.Descriptor(1, "deviceFd");
  route.alignment = static_cast<size_t>(args.Integer(2, "alignment", 1, kMaxAlignment));
  const auto threads = static_cast<size_t>(args.Integer(3, "threads", 1, kMaxThreads));
  maxReadBytes_ = static_cast<size_t>(args.Integer(4, "maxReadBytes", 1, kMaxReadLimit));
  if (!args.Invalid() && (route.alignment & (route.alignment - 1)) != 0) args.Reject("alignment", "a power of two");
  if (args.Invalid()) return;
  route.zeros = AlignedMemory::Allocate(maxReadBytes_, PROT_READ);
  if (route.zeros == nullptr) {
    Napi::RangeError::New(env_, "DataPump: out of memory").ThrowAsJavaScriptException();
    return;
  }
  pool_ = std::make_unique<ReadPool>(route, threads, "fuse4fs-read");
  napi_add_env_cleanup_hook(env_, CloseAtExit, pool_.get());
}

/** A small read with nothing beside it that it could hold up: neither other reads nor waiting requests. */
bool DataPump::WorthServingHere(const ReadRequest& request) const {
  if (request.totalBytes > kMaxInlineBytes || pool_->InFlight() != 0) return false;
  pollfd channel = {pool_->route().channelFd, POLLIN, 0};
  return poll(&channel, 1, 0) == 0;
}

Napi::Value DataPump::ReplyRead(const Napi::CallbackInfo& info) {
  Arguments args(info, "replyRead");
  const uint64_t uniqueLow = args.Uint32(0, "uniqueLow");
  const uint64_t uniqueHigh = args.Uint32(1, "uniqueHigh");
  size_t numbers = 0;
  const double* segments = args.Float64Array(2, "segments", &numbers);
  const auto count = static_cast<size_t>(args.Integer(3, "count", 0, static_cast<double>(numbers / 2)));
  if (args.Invalid()) return args.Thrown();
  if (pool_ == nullptr) {
    Napi::Error::New(env_, "replyRead: the pump is closed").ThrowAsJavaScriptException();
    return args.Thrown();
  }
  ReadRequest* request = pool_->Take();
  request->unique = uniqueHigh << 32 | uniqueLow;
  request->totalBytes = AppendSegments(&request->segments, segments, count, Segment::kZeros, maxReadBytes_);
  if (request->totalBytes == 0 && count > 0) {
    pool_->Discard(request);
    args.Reject("segments", "pairs of offset (-1 or more) and length (1 or more), within maxReadBytes");
    return args.Thrown();
  }
  if (WorthServingHere(*request)) pool_->ServeHere(request);
  else pool_->Submit(request);
  return env_.Undefined();
}

Napi::Value DataPump::InFlight(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), pool_ == nullptr ? 0 : pool_->InFlight());
}

Napi::Value DataPump::WaitUntilIdle(const Napi::CallbackInfo& info) {
  if (pool_ != nullptr) pool_->WaitUntilIdle();
  return info.Env().Undefined();
}

Napi::Value DataPump::Close(const Napi::CallbackInfo& info) {
  Release();
  return info.Env().Undefined();
}

void DataPump::Release() {
  if (pool_ == nullptr) return;
  napi_remove_env_cleanup_hook(env_, CloseAtExit, pool_.get());
  pool_.reset();
}

}  // namespace

void RegisterDataPump(Napi::Env env, Napi::Object exports) { exports.Set("DataPump", DataPump::Define(env)); }
