// Packets of an AF_UNIX SOCK_SEQPACKET socket, each with at most one descriptor (SCM_RIGHTS).
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <cstring>

#include "arguments.h"
#include "registration.h"
#include "system_call.h"

namespace {

/** SCM_MAX_FD of the kernel: no packet carries more descriptors. */
constexpr size_t kMaxDescriptors = 253;
/** A peer that does not take our packets for this long is taken for dead. */
constexpr int kSendTimeoutMs = 30'000;

/** Waits for `events` on the socket. 0, -ETIMEDOUT, or another negative errno. `timeoutMs` -1 waits for ever. */
long WaitFor(int socket, short events, int timeoutMs) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeoutMs);
  int remainingMs = timeoutMs;
  for (;;) {
    pollfd entry = {socket, events, 0};
    const long ready = OrErrno(poll(&entry, 1, remainingMs));
    if (ready > 0) return (entry.revents & POLLNVAL) != 0 ? -EBADF : 0;
    if (ready == 0) return -ETIMEDOUT;
    if (ready != -EINTR) return ready;
    if (timeoutMs < 0) continue;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    remainingMs = left > 0 ? static_cast<int>(left) : 0;
  }
}

/** Puts one descriptor into the control part of `message`, in `control`. */
void AttachDescriptor(msghdr* message, char* control, size_t controlLength, int fd) {
  message->msg_control = control;
  message->msg_controllen = controlLength;
  cmsghdr* header = CMSG_FIRSTHDR(message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
}

/** Without a descriptor it is a call that a sealed server may make. */
long SendNow(int socket, Bytes bytes, int fd) {
  constexpr int kFlags = MSG_NOSIGNAL | MSG_EOR | MSG_DONTWAIT;
  if (fd < 0) return OrErrno(send(socket, bytes.data, bytes.length, kFlags));
  iovec part = {bytes.data, bytes.length};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  AttachDescriptor(&message, control, sizeof control, fd);
  return OrErrno(sendmsg(socket, &message, kFlags));
}

Napi::Value SendPacket(const Napi::CallbackInfo& info) {
  Arguments args(info, "sendPacket");
  const int socket = args.Descriptor(0, "socket");
  const Bytes bytes = args.Uint8Array(1, "bytes");
  const int fd = args.DescriptorOrNone(2, "fd");
  if (args.Invalid()) return args.Thrown();
  for (;;) {
    const long sent = SendNow(socket, bytes, fd);
    if (sent >= 0) return NumberOf(args.Env(), 0);
    if (sent == -EINTR) continue;
    const long waited = sent == -EAGAIN ? WaitFor(socket, POLLOUT, kSendTimeoutMs) : sent;
    if (waited < 0) return NumberOf(args.Env(), waited);
  }
}

Napi::Value PeekPacket(const Napi::CallbackInfo& info) {
  Arguments args(info, "peekPacket");
  const int socket = args.Descriptor(0, "socket");
  const int timeoutMs = static_cast<int>(args.Integer(1, "timeoutMs", -1, INT32_MAX));
  if (args.Invalid()) return args.Thrown();
  const long waited = WaitFor(socket, POLLIN, timeoutMs);
  if (waited < 0) return NumberOf(args.Env(), waited);
  char nothing = 0;
  const long length =
      OrErrno(RetryInterrupted([&] { return recv(socket, &nothing, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT); }));
  return NumberOf(args.Env(), length);
}

/** The only descriptor of a received message, -1 for none. More, or cut control data: -EPROTO, and all are closed. */
int OnlyDescriptor(msghdr* message) {
  int first = -1;
  bool refused = (message->msg_flags & MSG_CTRUNC) != 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(message); header != nullptr; header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      if (first < 0) {
        first = fd;
      } else {
        refused = true;
        close(fd);
      }
    }
  }
  if (!refused) return first;
  if (first >= 0) close(first);
  return -EPROTO;
}

Napi::Value ReceivePacket(const Napi::CallbackInfo& info) {
  Arguments args(info, "receivePacket");
  const int socket = args.Descriptor(0, "socket");
  const Bytes into = args.Uint8Array(1, "into");
  if (args.Invalid()) return args.Thrown();
  iovec part = {into.data, into.length};
  // Room for every descriptor a packet can bring, so that surplus ones can be closed, and for credentials.
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int)) + CMSG_SPACE(sizeof(ucred))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const long length = OrErrno(RetryInterrupted([&] { return recvmsg(socket, &message, MSG_CMSG_CLOEXEC); }));
  if (length < 0) return NumberOf(args.Env(), length);
  const int fd = OnlyDescriptor(&message);
  if (fd == -EPROTO) return NumberOf(args.Env(), -EPROTO);
  auto packet = Napi::Array::New(args.Env(), 2);
  packet.Set(0u, NumberOf(args.Env(), length));
  packet.Set(1u, NumberOf(args.Env(), fd));
  return packet;
}

}  // namespace

void RegisterSeqpacket(Napi::Env env, Napi::Object exports) {
  Export<SendPacket>(env, exports, "sendPacket");
  Export<PeekPacket>(env, exports, "peekPacket");
  Export<ReceivePacket>(env, exports, "receivePacket");
}
