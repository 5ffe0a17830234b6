// Memory that the C library holds on to.
#include <malloc.h>

#include "registration.h"

namespace {

/** Gives the pages back that lie between the allocations still in use. */
Napi::Value TrimHeap(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), malloc_trim(0) == 1); }

/** Threads share one arena from now on: each of its own would keep what the thread has freed. */
Napi::Value ShareArena(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), mallopt(M_ARENA_MAX, 1) == 1);
}

}  // namespace

void RegisterHeap(Napi::Env env, Napi::Object exports) {
  Export<ShareArena>(env, exports, "shareArena");
  Export<TrimHeap>(env, exports, "trimHeap");
}
