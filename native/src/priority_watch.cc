// Watches a descriptor for exceptional conditions (POLLPRI), which is how pressure stall information announces itself.
#include "arguments.h"
#include "readable_watcher.h"
#include "registration.h"

namespace {

class PriorityWatch : public Napi::ObjectWrap<PriorityWatch> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "PriorityWatch", {InstanceMethod<&PriorityWatch::Close>("close")});
  }

  explicit PriorityWatch(const Napi::CallbackInfo& info);
  ~PriorityWatch() override { Release(); }

 private:
  Napi::Value Close(const Napi::CallbackInfo& info);
  void Release() {
    if (watcher_ != nullptr) watcher_->Close();
  }

  ReadableWatcher* watcher_ = nullptr;
};

PriorityWatch::PriorityWatch(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  Arguments args(info, "PriorityWatch");
  const int fd = args.Descriptor(0, "fd");
  const Napi::Function onEvent = args.Callback(1, "onEvent");
  if (args.Invalid()) return;
  const int failure = ReadableWatcher::Start(args.Env(), fd, UV_PRIORITIZED, onEvent, &watcher_);
  if (watcher_ != nullptr) Ref();  // Not collected while the event loop may call.
  if (failure != 0) onEvent.Call({Napi::Number::New(args.Env(), -failure)});
}

Napi::Value PriorityWatch::Close(const Napi::CallbackInfo& info) {
  if (watcher_ != nullptr) Unref();
  Release();
  return info.Env().Undefined();
}

}  // namespace

void RegisterPriorityWatch(Napi::Env env, Napi::Object exports) {
  exports.Set("PriorityWatch", PriorityWatch::Define(env));
}
