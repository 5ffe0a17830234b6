// The addon's entry point; native/addon.ts lists every function with its meaning.
#include "registration.h"

static Napi::Object RegisterAll(Napi::Env env, Napi::Object exports) {
  RegisterBlockIo(env, exports);
  RegisterClock(env, exports);
  RegisterCrc32c(env, exports);
  RegisterDataPump(env, exports);
  RegisterDescriptor(env, exports);
  RegisterDeviceMaintenance(env, exports);
  RegisterDeviceProgram(env, exports);
  RegisterFuseChannel(env, exports);
  RegisterFuseIoctl(env, exports);
  RegisterFuseNotify(env, exports);
  RegisterHardening(env, exports);
  RegisterHeap(env, exports);
  RegisterIoUring(env, exports);
  RegisterLandlock(env, exports);
  RegisterLoopDevice(env, exports);
  RegisterMemfd(env, exports);
  RegisterMountApi(env, exports);
  RegisterMountControl(env, exports);
  RegisterMountGuard(env, exports);
  RegisterPriorityWatch(env, exports);
  RegisterSeqpacket(env, exports);
  RegisterSocket(env, exports);
  RegisterSystemCallFilter(env, exports);
  RegisterWritePump(env, exports);
  return exports;
}

NODE_API_MODULE(fuse4fs, RegisterAll)
