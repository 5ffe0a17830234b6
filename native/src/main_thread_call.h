// Lets any thread have a JavaScript function called from the event loop.
#pragma once

#include <napi.h>
#include <uv.h>

/**
 * Lives on the heap and frees itself once the event loop has let go of it: after `Close`, or when the environment
 * ends. The owner's pointer to it is cleared at that moment.
 */
class MainThreadCall {
 public:
  /** Sets `*slot` and returns 0, or a negative errno. */
  static int Start(Napi::Env env, const char* name, Napi::Function function, MainThreadCall** slot);

  /** From any thread, before `Close`. Several requests may end in one call. */
  void Request() { uv_async_send(&async_); }

  /** Whether the event loop stays alive for calls to come. */
  void KeepLoopAlive(bool on) {
    if (on) uv_ref(reinterpret_cast<uv_handle_t*>(&async_));
    else uv_unref(reinterpret_cast<uv_handle_t*>(&async_));
  }

  /** No call comes any more. */
  void Close();

 private:
  explicit MainThreadCall(Napi::Env env) : env_(env) {}
  ~MainThreadCall() = default;
  static void OnAsync(uv_async_t* async);

  Napi::Env env_;
  uv_async_t async_ = {};
  Napi::FunctionReference function_;
  napi_async_context context_ = nullptr;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  MainThreadCall** slot_ = nullptr;
};
