/* try-posix-lock FILE: status 0 when a POSIX record lock on the whole file could be had, 1 when somebody holds one. */
#include <fcntl.h>

int main(int argc, char **argv) {
  int fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
  if (fd < 0) return 2;
  struct flock lock = {.l_type = F_WRLCK};
  return fcntl(fd, F_SETLK, &lock) == 0 ? 0 : 1;
}
