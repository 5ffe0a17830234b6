// The clock that the kernel takes file times from.
#include <time.h>

#include "arguments.h"
#include "registration.h"

namespace {

/** Fills in seconds and nanoseconds of the real time at the last tick: what the kernel stamps its own changes with. */
Napi::Value ReadCoarseClock(const Napi::CallbackInfo& info) {
  Arguments args(info, "readCoarseClock");
  size_t numbers = 0;
  auto* into = const_cast<double*>(args.Float64Array(0, "into", &numbers));
  if (!args.Invalid() && numbers != 2) args.Reject("into", "two numbers");
  if (args.Invalid()) return args.Thrown();
  timespec now = {};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  into[0] = static_cast<double>(now.tv_sec);
  into[1] = static_cast<double>(now.tv_nsec);
  return args.Env().Undefined();
}

}  // namespace

void RegisterClock(Napi::Env env, Napi::Object exports) { Export<ReadCoarseClock>(env, exports, "readCoarseClock"); }
