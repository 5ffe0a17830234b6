#include "placement.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

/** Number of the field "processor" in /proc/<thread>/stat, counted from the first one behind the name. */
constexpr int kProcessorField = 36;

/** The CPU that a thread runs on or ran on last; -1 when we may not know, or there is no such thread any more. */
int CpuOf(uint32_t thread) {
  char path[32];
  snprintf(path, sizeof path, "/proc/%u/stat", thread);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  char text[1024];
  const ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return -1;
  text[length] = '\0';
  const char* at = strrchr(text, ')');
  for (int field = 0; at != nullptr && field <= kProcessorField; field++) at = strchr(at + 1, ' ');
  return at == nullptr ? -1 : atoi(at);
}

}  // namespace

Placement& Placement::OfThisThread() {
  static thread_local Placement placement;
  return placement;
}

void Placement::Follow() {
  const int cpu = CpuOf(client_);
  if (cpu < 0 || cpu >= CPU_SETSIZE || cpu == cpu_) return;
  Leave();
  if (sched_getaffinity(0, sizeof allowed_, &allowed_) != 0) return;
  if (!CPU_ISSET(cpu, &allowed_) || CPU_COUNT(&allowed_) == 1) return;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  if (sched_setaffinity(0, sizeof one, &one) == 0) cpu_ = cpu;
}

bool Placement::IsStillThere() const {
  cpu_set_t now;
  return sched_getaffinity(0, sizeof now, &now) == 0 && CPU_COUNT(&now) == 1 && CPU_ISSET(cpu_, &now);
}

void Placement::Leave() {
  if (cpu_ >= 0 && IsStillThere()) sched_setaffinity(0, sizeof allowed_, &allowed_);
  cpu_ = -1;
}
