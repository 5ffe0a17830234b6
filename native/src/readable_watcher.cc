#include "readable_watcher.h"

int ReadableWatcher::Start(Napi::Env env, int fd, int events, Napi::Function onEvent, ReadableWatcher** slot) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return UV_EINVAL;
  auto* watcher = new ReadableWatcher(env);
  const int failure = uv_poll_init(loop, &watcher->poll_, fd);
  if (failure != 0) {
    delete watcher;
    return failure;
  }
  watcher->poll_.data = watcher;
  watcher->slot_ = slot;
  *slot = watcher;
  watcher->callback_ = Napi::Persistent(onEvent);
  napi_async_init(env, nullptr, Napi::String::New(env, "ReadableWatcher"), &watcher->context_);
  // The loop must have closed the handle before the environment is torn down.
  const auto close = [](napi_async_cleanup_hook_handle, void* data) { static_cast<ReadableWatcher*>(data)->Close(); };
  napi_add_async_cleanup_hook(env, close, watcher, &watcher->hook_);
  return uv_poll_start(&watcher->poll_, events, OnPoll);
}

void ReadableWatcher::OnPoll(uv_poll_t* poll, int status, int) {
  auto* watcher = static_cast<ReadableWatcher*>(poll->data);
  const Napi::Env env = watcher->env_;
  const Napi::HandleScope scope(env);
  napi_value pollErrno = Napi::Number::New(env, status < 0 ? -status : 0);
  const napi_status called = napi_make_callback(env, watcher->context_, env.Global(), watcher->callback_.Value(), 1,
                                                &pollErrno, nullptr);
  napi_value exception = nullptr;
  if (called == napi_pending_exception && napi_get_and_clear_last_exception(env, &exception) == napi_ok)
    napi_fatal_exception(env, exception);  // Becomes an uncaught exception, as in any event handler.
}

void ReadableWatcher::Close() {
  if (slot_ == nullptr) return;
  *slot_ = nullptr;
  slot_ = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), [](uv_handle_t* handle) {
    auto* watcher = static_cast<ReadableWatcher*>(handle->data);
    const Napi::HandleScope scope(watcher->env_);
    napi_async_destroy(watcher->env_, watcher->context_);
    napi_remove_async_cleanup_hook(watcher->hook_);
    delete watcher;
  });
}
