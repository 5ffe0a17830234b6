// AF_UNIX sockets: making them, and what the kernel knows about them.
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "arguments.h"
#include "registration.h"
#include "system_call.h"

namespace {

/** Linux 6.16: whether a socket accepts descriptors; older C library headers lack the name. */
constexpr int kSoPassRights = 83;
Napi::Value SocketPair(const Napi::CallbackInfo& info) {
  int sockets[2];
  const long result = OrErrno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets));
  if (result < 0) return NumberOf(info.Env(), result);
  auto pair = Napi::Array::New(info.Env(), 2);
  for (uint32_t i = 0; i < 2; i++) pair.Set(i, Napi::Number::New(info.Env(), sockets[i]));
  return pair;
}

/** A socket of this type that is connected to the one at `path`, or a negative errno. */
Napi::Value Connect(const Napi::CallbackInfo& info, const char* function, int type) {
  Arguments args(info, function);
  const std::string path = args.Text(0, "path");
  if (args.Invalid()) return args.Thrown();
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty()) return NumberOf(args.Env(), -ENOENT);
  if (path.size() >= sizeof address.sun_path) return NumberOf(args.Env(), -ENAMETOOLONG);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  FileDescriptor fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return NumberOf(args.Env(), -errno);
  const long result = OrErrno(RetryInterrupted(
      [&] { return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address); }));
  return NumberOf(args.Env(), result < 0 ? result : fd.Release());
}

Napi::Value ConnectSeqpacket(const Napi::CallbackInfo& info) {
  return Connect(info, "connectSeqpacket", SOCK_SEQPACKET);
}

Napi::Value ConnectDatagram(const Napi::CallbackInfo& info) { return Connect(info, "connectDatagram", SOCK_DGRAM); }

/** One datagram, if the receiver has room for it now. */
Napi::Value SendDatagram(const Napi::CallbackInfo& info) {
  Arguments args(info, "sendDatagram");
  const int socket = args.Descriptor(0, "socket");
  const Bytes bytes = args.Uint8Array(1, "bytes");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(send(socket, bytes.data, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL)));
}

Napi::Value PeerCredentials(const Napi::CallbackInfo& info) {
  Arguments args(info, "peerCredentials");
  const int socket = args.Descriptor(0, "socket");
  if (args.Invalid()) return args.Thrown();
  ucred peer = {};
  socklen_t length = sizeof peer;
  const long result = OrErrno(getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length));
  if (result < 0) return NumberOf(args.Env(), result);
  auto triple = Napi::Array::New(args.Env(), 3);
  triple.Set(0u, Napi::Number::New(args.Env(), peer.pid));
  triple.Set(1u, Napi::Number::New(args.Env(), peer.uid));
  triple.Set(2u, Napi::Number::New(args.Env(), peer.gid));
  return triple;
}

long SocketOption(int fd, int option, int* value) {
  socklen_t length = sizeof *value;
  return OrErrno(getsockopt(fd, SOL_SOCKET, option, value, &length));
}

Napi::Value SocketInfo(const Napi::CallbackInfo& info) {
  Arguments args(info, "socketInfo");
  const int fd = args.Descriptor(0, "fd");
  if (args.Invalid()) return args.Thrown();
  sockaddr_storage address = {};
  socklen_t length = sizeof address;
  int type = 0;
  int sendBufferBytes = 0;
  long result = OrErrno(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length));
  if (result == 0) result = SocketOption(fd, SO_TYPE, &type);
  if (result == 0) result = SocketOption(fd, SO_SNDBUF, &sendBufferBytes);
  if (result < 0) return NumberOf(args.Env(), result);
  auto triple = Napi::Array::New(args.Env(), 3);
  triple.Set(0u, Napi::Number::New(args.Env(), address.ss_family));
  triple.Set(1u, Napi::Number::New(args.Env(), type));
  triple.Set(2u, Napi::Number::New(args.Env(), sendBufferBytes));
  return triple;
}

Napi::Value DisallowRights(const Napi::CallbackInfo& info) {
  Arguments args(info, "disallowRights");
  const int socket = args.Descriptor(0, "socket");
  if (args.Invalid()) return args.Thrown();
  const int off = 0;
  return NumberOf(args.Env(), OrErrno(setsockopt(socket, SOL_SOCKET, kSoPassRights, &off, sizeof off)));
}

Napi::Value ShutdownSocket(const Napi::CallbackInfo& info) {
  Arguments args(info, "shutdownSocket");
  const int socket = args.Descriptor(0, "socket");
  if (args.Invalid()) return args.Thrown();
  return NumberOf(args.Env(), OrErrno(shutdown(socket, SHUT_RDWR)));
}

}  // namespace

void RegisterSocket(Napi::Env env, Napi::Object exports) {
  Export<SocketPair>(env, exports, "socketPair");
  Export<ConnectSeqpacket>(env, exports, "connectSeqpacket");
  Export<ConnectDatagram>(env, exports, "connectDatagram");
  Export<SendDatagram>(env, exports, "sendDatagram");
  Export<PeerCredentials>(env, exports, "peerCredentials");
  Export<SocketInfo>(env, exports, "socketInfo");
  Export<DisallowRights>(env, exports, "disallowRights");
  Export<ShutdownSocket>(env, exports, "shutdownSocket");
}
