// Memory that the C library holds on to.
#include <malloc.h>

#include "registration.h"

namespace {

/** Gives the pages back that lie between the allocations still in use. */
Napi::Value TrimHeap(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), malloc_trim(0) == 1); }

}  // namespace

void RegisterHeap(Napi::Env env, Napi::Object exports) { Export<TrimHeap>(env, exports, "trimHeap"); }
