#include "main_thread_call.h"

int MainThreadCall::Start(Napi::Env env, const char* name, Napi::Function function, MainThreadCall** slot) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return UV_EINVAL;
  auto* call = new MainThreadCall(env);
  const int failure = uv_async_init(loop, &call->async_, OnAsync);
  if (failure != 0) {
    delete call;
    return failure;
  }
  call->async_.data = call;
  call->slot_ = slot;
  *slot = call;
  call->KeepLoopAlive(false);
  call->function_ = Napi::Persistent(function);
  napi_async_init(env, nullptr, Napi::String::New(env, name), &call->context_);
  // The loop must have closed the handle before the environment is torn down.
  const auto close = [](napi_async_cleanup_hook_handle, void* data) { static_cast<MainThreadCall*>(data)->Close(); };
  napi_add_async_cleanup_hook(env, close, call, &call->hook_);
  return 0;
}

void MainThreadCall::OnAsync(uv_async_t* async) {
  auto* call = static_cast<MainThreadCall*>(async->data);
  if (call->slot_ == nullptr) return;
  const Napi::Env env = call->env_;
  const Napi::HandleScope scope(env);
  const napi_status called =
      napi_make_callback(env, call->context_, env.Global(), call->function_.Value(), 0, nullptr, nullptr);
  napi_value exception = nullptr;
  if (called == napi_pending_exception && napi_get_and_clear_last_exception(env, &exception) == napi_ok)
    napi_fatal_exception(env, exception);  // Becomes an uncaught exception, as in any event handler.
}

void MainThreadCall::Close() {
  if (slot_ == nullptr) return;
  *slot_ = nullptr;
  slot_ = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&async_), [](uv_handle_t* handle) {
    auto* call = static_cast<MainThreadCall*>(handle->data);
    const Napi::HandleScope scope(call->env_);
    napi_async_destroy(call->env_, call->context_);
    napi_remove_async_cleanup_hook(call->hook_);
    delete call;
  });
}
