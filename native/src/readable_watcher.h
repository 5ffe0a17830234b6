// Calls a JavaScript function from the event loop whenever a descriptor is readable, or has something else to tell.
#pragma once

#include <napi.h>
#include <uv.h>

/**
 * Lives on the heap and frees itself once the event loop has let go of it: after `Close`, or when the
 * environment ends. The owner's pointer to it is cleared at that moment.
 */
class ReadableWatcher {
 public:
  /**
   * Sets `*slot` and returns 0, or a negative errno. `events` are uv_poll_event bits. The callback gets 0 or the
   * positive errno of a failed poll.
   */
  static int Start(Napi::Env env, int fd, int events, Napi::Function onEvent, ReadableWatcher** slot);

  /** No callback comes any more; the descriptor may be closed at once. */
  void Close();

 private:
  explicit ReadableWatcher(Napi::Env env) : env_(env) {}
  ~ReadableWatcher() = default;
  static void OnPoll(uv_poll_t* poll, int status, int events);

  Napi::Env env_;
  uv_poll_t poll_ = {};
  Napi::FunctionReference callback_;
  napi_async_context context_ = nullptr;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  ReadableWatcher** slot_ = nullptr;
};
