/* send-descriptors COUNT HEX: sends one packet on descriptor 3 with COUNT descriptors of /dev/null. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* No packet carries more descriptors: SCM_MAX_FD of the kernel. */
enum { SOCKET = 3, COUNT_MAX = 253, BYTES_MAX = 65536 };

int main(int argc, char **argv) {
  static unsigned char bytes[BYTES_MAX];
  if (argc != 3) return 2;
  int count = atoi(argv[1]);
  size_t length = strlen(argv[2]) / 2;
  if (count < 0 || count > COUNT_MAX || length > BYTES_MAX) return 2;
  for (size_t i = 0; i < length; i++) sscanf(argv[2] + 2 * i, "%2hhx", &bytes[i]);

  struct iovec part = {bytes, length};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(COUNT_MAX * sizeof(int))];
  } control = {0};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > 0) {
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
  }
  for (int i = 0; i < count; i++) {
    int fd = open("/dev/null", O_RDONLY);
    if (fd < 0) return 1;
    memcpy(CMSG_DATA(&control.header) + i * sizeof fd, &fd, sizeof fd);
  }
  if (sendmsg(SOCKET, &message, MSG_NOSIGNAL | MSG_EOR) < 0) {
    perror("sendmsg");
    return 1;
  }
  return 0;
}
