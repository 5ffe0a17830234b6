/*
 * foreign-helper SOCKET SUBTYPE SOURCE MOUNTPOINT OPTIONS: a mount helper that knows the fuse service protocol, version
 * 1, and nothing else of ours. It does what was recorded of libfuse's: the same bytes, the same system calls, no
 * extension; an unknown packet ends it. Prints each packet: direction, descriptors, bytes in hexadecimal.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PACKET_MAX = 65536, WORDS = 5, HOLES = 2, STRINGS_AT = 8 + 8 * (WORDS + HOLES) };
enum { OPEN_STRING = 20, MNTP_STRING = 8, STRING = 4, NO_FD = -1 };

static int sock, fuse_device;
static unsigned char packet[PACKET_MAX + 1];
static char source[PACKET_MAX], options[PACKET_MAX];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void show(const char *direction, int fds, const void *bytes, size_t length) {
  printf("%s %d ", direction, fds);
  for (size_t i = 0; i < length; i++) printf("%02x", ((const unsigned char *)bytes)[i]);
  printf("\n");
  fflush(stdout);
}

static void send_packet(const void *bytes, size_t length, int fd) {
  struct iovec part = {(void *)bytes, length};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (fd != NO_FD) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    control.header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  }
  if (sendmsg(sock, &message, MSG_EOR | MSG_NOSIGNAL) < 0) fail("sendmsg");
  show("H>S", fd != NO_FD, bytes, length);
}

static void put32(unsigned char *at, uint32_t value) {
  value = htonl(value);
  memcpy(at, &value, sizeof value);
}

static uint32_t get32(const unsigned char *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return ntohl(value);
}

static void send_file(const char *path, int error, int fd) {
  unsigned char bytes[8 + 4097] = "FILE";
  put32(bytes + 4, error);
  strcpy((char *)bytes + 8, path);
  send_packet(bytes, 8 + strlen(path) + 1, fd);
  if (fd != NO_FD && fd != fuse_device) close(fd);
}

static void reply(int error) {
  unsigned char bytes[8] = "REPL";
  put32(bytes + 4, error);
  send_packet(bytes, sizeof bytes, NO_FD);
}

/* The table has room for "-t TYPE", too, which is left out: two empty entries before the strings. */
static int argument_file(char *const words[WORDS]) {
  unsigned char bytes[8192] = "ARGS";
  size_t at = STRINGS_AT;
  put32(bytes + 4, WORDS);
  for (int i = 0; i < WORDS; i++) {
    size_t length = strlen(words[i]) + 1;
    if (at + length > sizeof bytes) exit(2);
    put32(bytes + 8 + 8 * i, at);
    put32(bytes + 12 + 8 * i, length);
    memcpy(bytes + at, words[i], length);
    at += length;
  }
  int fd = memfd_create("fuse service argv", MFD_CLOEXEC);
  if (fd < 0 || pwrite(fd, bytes, at, 0) != (ssize_t)at) fail("memfd");
  return fd;
}

static void connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (sock < 0 || connect(sock, (struct sockaddr *)&address, sizeof address) < 0) fail(path);
}

static size_t receive(void) {
  ssize_t length = recv(sock, packet, PACKET_MAX, 0);
  if (length < 4) fail("the service left without a goodbye");
  show("S>H", 0, packet, length);
  packet[length] = 0;
  return length;
}

static int is(const char *magic) { return memcmp(packet, magic, 4) == 0; }

static void answer_open(void) {
  const char *path = (const char *)packet + OPEN_STRING;
  uint32_t flags = get32(packet + 4);
  if (get32(packet + 12) & ~1u) {
    send_file(path, EINVAL, NO_FD);
    return;
  }
  int fd = open(path, flags | O_CLOEXEC, get32(packet + 8));
  send_file(path, fd < 0 ? errno : 0, fd < 0 ? NO_FD : fd);
}

static void set(int context, const char *key, const char *value) {
  if (fsconfig(context, FSCONFIG_SET_STRING, key, value, 0) < 0) fail(key);
}

static void mount_it(const char *subtype, const char *target, uint32_t ms_flags) {
  char number[16];
  int context = fsopen("fuse", FSOPEN_CLOEXEC);
  if (context < 0) fail("fsopen");
  snprintf(number, sizeof number, "%d", fuse_device);
  set(context, "source", source);
  set(context, "subtype", subtype);
  set(context, "fd", number);
  set(context, "rootmode", "40000");
  set(context, "user_id", "0");
  set(context, "group_id", "0");
  for (char *word = strtok(options, ","); word != NULL; word = strtok(NULL, ",")) {
    char *value = strchr(word, '=');
    if (value != NULL) {
      *value = 0;
      set(context, word, value + 1);
    } else if (fsconfig(context, FSCONFIG_SET_FLAG, word, NULL, 0) < 0) {
      fail(word);
    }
  }
  unsigned attributes = 0;
  if (ms_flags & MS_RDONLY) attributes |= MOUNT_ATTR_RDONLY;
  if (ms_flags & MS_NOSUID) attributes |= MOUNT_ATTR_NOSUID;
  if (ms_flags & MS_NODEV) attributes |= MOUNT_ATTR_NODEV;
  if (ms_flags & MS_NOATIME) attributes |= MOUNT_ATTR_NOATIME;
  if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) fail("fsconfig create");
  int mounted = fsmount(context, FSMOUNT_CLOEXEC, attributes);
  if (mounted < 0 || move_mount(mounted, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0) fail("move_mount");
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  const unsigned char hello[12] = {'S', 'A', 'F', 'T', 0, 1, 0, 1, 0, 0, 0, 3};
  char *words[WORDS] = {argv[2], argv[3], argv[4], "-o", argv[5]};
  connect_to(argv[1]);
  send_packet(hello, sizeof hello, NO_FD);
  if (receive() != 8 || !is("LAST")) return 1;
  send_file("argv", 0, argument_file(words));
  fuse_device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fuse_device < 0) fail("/dev/fuse");
  send_file("fusedev", 0, fuse_device);
  for (;;) {
    size_t length = receive();
    if (is("OPEN")) {
      answer_open();
    } else if (is("TYPE")) {
      reply(length == 8 && get32(packet + 4) == 0 ? 0 : EINVAL);
    } else if (is("NAME")) {
      snprintf(source, sizeof source, "%s", packet + STRING);
      reply(0);
    } else if (is("MNTP")) {
      reply(strcmp((char *)packet + MNTP_STRING, argv[4]) == 0 ? 0 : EINVAL);
    } else if (is("OPTS")) {
      snprintf(options, sizeof options, "%s", packet + STRING);
      reply(0);
    } else if (is("MTAB")) {
      reply(0);
    } else if (is("DOIT")) {
      mount_it(argv[2], argv[4], get32(packet + 4));
      reply(0);
    } else {
      return is("BYEE") && length == 8 ? (int)get32(packet + 4) : 1;
    }
  }
}
