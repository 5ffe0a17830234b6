/* greet-one PATH: listens on the SEQPACKET socket PATH, says so on standard output, greets one visitor and ends. */
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) return 2;
  strcpy(address.sun_path, argv[1]);
  int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1) != 0) return 3;
  if (write(STDOUT_FILENO, "ready", 5) != 5) return 4;
  int visitor = accept(listener, NULL, NULL);
  return visitor >= 0 && send(visitor, "hello", 5, MSG_EOR) == 5 ? 0 : 5;
}
