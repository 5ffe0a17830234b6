// What the peer needs of the system and Node lacks: waiting for two sockets at once, device I/O that is recorded.
#include <errno.h>
#include <napi.h>
#include <poll.h>
#include <sys/socket.h>

#include "device-log.h"

namespace {

/** Packets of 1 MiB and more must fit, several at once. */
constexpr int kSocketBufferBytes = 16 << 20;
/** Something else than a reply came first. */
constexpr int kControlIsReadable = -10000;
constexpr int kNotifyIsReadable = -10001;
constexpr uint32_t kParty = 2;

LogHeader* device_log = nullptr;

double ErrnoOr(ssize_t result) { return result < 0 ? -errno : static_cast<double>(result); }

int Int(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Number>().Int32Value(); }

int64_t Long(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Number>().Int64Value(); }

Napi::Uint8Array Bytes(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Uint8Array>(); }

Napi::Value Number(const Napi::CallbackInfo& info, double value) { return Napi::Number::New(info.Env(), value); }

/** socketPair(): both ends, for large packets. */
Napi::Value SocketPair(const Napi::CallbackInfo& info) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return Number(info, -errno);
  auto pair = Napi::Array::New(info.Env(), 2);
  for (uint32_t i = 0; i < 2; i++) {
    const int bytes = kSocketBufferBytes;
    setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
    setsockopt(ends[i], SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    pair.Set(i, Napi::Number::New(info.Env(), ends[i]));
  }
  return pair;
}

/** send(fd, bytes, length): 0 or a negative errno. */
Napi::Value Send(const Napi::CallbackInfo& info) {
  const ssize_t sent = send(Int(info, 0), Bytes(info, 1).Data(), static_cast<size_t>(Int(info, 2)), MSG_NOSIGNAL);
  return Number(info, sent < 0 ? -errno : 0);
}

/** receive(channel, control, notify, into, timeoutMs): bytes of the next packet, or why there is none. */
Napi::Value Receive(const Napi::CallbackInfo& info) {
  pollfd ends[3] = {};
  for (int i = 0; i < 3; i++) ends[i] = {Int(info, static_cast<size_t>(i)), POLLIN, 0};
  Napi::Uint8Array into = Bytes(info, 3);
  const int timeoutMs = Int(info, 4);
  int ready;
  do ready = poll(ends, 3, timeoutMs);
  while (ready < 0 && errno == EINTR);
  if (ready == 0) return Number(info, -ETIMEDOUT);
  if (ready < 0) return Number(info, -errno);
  // Who makes a control call waits for its end, so replies that are there were sent before.
  if (ends[0].revents == 0) {
    // Both also when the other end is closed: then the channel is closed as well.
    const bool isControl = (ends[1].revents & POLLIN) != 0;
    if (!isControl && (ends[2].revents & POLLIN) == 0) return Number(info, -ENODEV);
    return Number(info, isControl ? kControlIsReadable : kNotifyIsReadable);
  }
  iovec part = {into.Data(), into.ByteLength()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  const ssize_t length = recvmsg(ends[0].fd, &message, 0);
  if (length == 0) return Number(info, -ENODEV);
  if (length > 0 && (message.msg_flags & MSG_TRUNC) != 0) return Number(info, -EMSGSIZE);
  return Number(info, ErrnoOr(length));
}

/** readAt(fd, offsetBytes, into, start, length): 0 or a negative errno. */
Napi::Value ReadAt(const Napi::CallbackInfo& info) {
  Napi::Uint8Array into = Bytes(info, 2);
  const auto length = static_cast<size_t>(Int(info, 4));
  const ssize_t got = pread(Int(info, 0), into.Data() + Int(info, 3), length, Long(info, 1));
  return Number(info, got < 0 ? -errno : got == static_cast<ssize_t>(length) ? 0 : -EIO);
}

/** writeAt(fd, offsetBytes, from, start, length): 0 or a negative errno. */
Napi::Value WriteAt(const Napi::CallbackInfo& info) {
  const uint8_t* bytes = Bytes(info, 2).Data() + Int(info, 3);
  const auto length = static_cast<size_t>(Int(info, 4));
  const int64_t offset = Long(info, 1);
  LogRecord* record = LogBegin(device_log, kLogWrite, kParty, static_cast<uint64_t>(offset), length, bytes);
  const ssize_t written = pwrite(Int(info, 0), bytes, length, offset);
  LogEnd(device_log, record, written == static_cast<ssize_t>(length));
  return Number(info, written < 0 ? -errno : written == static_cast<ssize_t>(length) ? 0 : -EIO);
}

/** alignedBuffer(bytes): memory for direct I/O. */
Napi::Value AlignedBuffer(const Napi::CallbackInfo& info) {
  const auto bytes = static_cast<size_t>(Int(info, 0));
  void* memory = nullptr;
  if (posix_memalign(&memory, 4096, bytes) != 0) return Number(info, -ENOMEM);
  memset(memory, 0, bytes);
  auto buffer =
      Napi::ArrayBuffer::New(info.Env(), memory, bytes, [](Napi::Env, void* data) { free(data); });
  return Napi::Uint8Array::New(info.Env(), bytes, buffer, 0);
}

/** openLog(path): the record's memory, or null; what this process writes is entered from now on. */
Napi::Value OpenLog(const Napi::CallbackInfo& info) {
  device_log = LogOpen(info[0].As<Napi::String>().Utf8Value().c_str());
  if (device_log == nullptr) return info.Env().Null();
  const auto bytes = static_cast<size_t>(device_log->capacityBytes);
  auto buffer = Napi::ArrayBuffer::New(info.Env(), device_log, bytes, [](Napi::Env, void* memory) {
    if (device_log == memory) device_log = nullptr;
    munmap(memory, static_cast<LogHeader*>(memory)->capacityBytes);
  });
  return Napi::Uint8Array::New(info.Env(), bytes, buffer, 0);
}

/** Sends a message and waits for its answer, on a thread. */
class Exchange : public Napi::AsyncWorker {
 public:
  Exchange(const Napi::Function& done, int socket, const Napi::Uint8Array& message)
      : Napi::AsyncWorker(done), socket_(socket), message_(message.Data(), message.Data() + message.ByteLength()) {}

  void Execute() override {
    if (send(socket_, message_.data(), message_.size(), MSG_NOSIGNAL) < 0) return;
    int32_t answer = 0;
    if (recv(socket_, &answer, sizeof answer, 0) == sizeof answer) answer_ = answer;
  }

  void OnOK() override { Callback().Call({Napi::Number::New(Env(), answer_)}); }

 private:
  int socket_;
  std::vector<uint8_t> message_;
  int32_t answer_ = ENODEV;
};

/** exchange(socket, message, done): `done` gets the answer's four bytes as a number. */
Napi::Value StartExchange(const Napi::CallbackInfo& info) {
  (new Exchange(info[2].As<Napi::Function>(), Int(info, 0), Bytes(info, 1)))->Queue();
  return info.Env().Undefined();
}

Napi::Object Initialise(Napi::Env env, Napi::Object exports) {
  exports.Set("socketPair", Napi::Function::New(env, SocketPair));
  exports.Set("send", Napi::Function::New(env, Send));
  exports.Set("receive", Napi::Function::New(env, Receive));
  exports.Set("readAt", Napi::Function::New(env, ReadAt));
  exports.Set("writeAt", Napi::Function::New(env, WriteAt));
  exports.Set("alignedBuffer", Napi::Function::New(env, AlignedBuffer));
  exports.Set("openLog", Napi::Function::New(env, OpenLog));
  exports.Set("exchange", Napi::Function::New(env, StartExchange));
  return exports;
}

}  // namespace

NODE_API_MODULE(peer_io, Initialise)
