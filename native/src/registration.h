// Each file of the addon adds its functions to the exports.
#pragma once

#include <napi.h>

void RegisterBlockIo(Napi::Env env, Napi::Object exports);
void RegisterClock(Napi::Env env, Napi::Object exports);
void RegisterCrc32c(Napi::Env env, Napi::Object exports);
void RegisterDataPump(Napi::Env env, Napi::Object exports);
void RegisterDescriptor(Napi::Env env, Napi::Object exports);
void RegisterDeviceMaintenance(Napi::Env env, Napi::Object exports);
void RegisterDeviceProgram(Napi::Env env, Napi::Object exports);
void RegisterFuseChannel(Napi::Env env, Napi::Object exports);
void RegisterFuseIoctl(Napi::Env env, Napi::Object exports);
void RegisterFuseNotify(Napi::Env env, Napi::Object exports);
void RegisterHardening(Napi::Env env, Napi::Object exports);
void RegisterHeap(Napi::Env env, Napi::Object exports);
void RegisterIoUring(Napi::Env env, Napi::Object exports);
void RegisterLandlock(Napi::Env env, Napi::Object exports);
void RegisterLoopDevice(Napi::Env env, Napi::Object exports);
void RegisterMemfd(Napi::Env env, Napi::Object exports);
void RegisterMountApi(Napi::Env env, Napi::Object exports);
void RegisterMountControl(Napi::Env env, Napi::Object exports);
void RegisterMountGuard(Napi::Env env, Napi::Object exports);
void RegisterPriorityWatch(Napi::Env env, Napi::Object exports);
void RegisterSeqpacket(Napi::Env env, Napi::Object exports);
void RegisterSocket(Napi::Env env, Napi::Object exports);
void RegisterSystemCallFilter(Napi::Env env, Napi::Object exports);
void RegisterWritePump(Napi::Env env, Napi::Object exports);

template <Napi::Value (*function)(const Napi::CallbackInfo&)>
void Export(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<function>(env, name));
}
