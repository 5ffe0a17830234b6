// On which CPU the thread that serves requests runs.
#pragma once

#include <sched.h>

#include <cstdint>

/**
 * Keeps the calling thread on the CPU of its client while there is only one: they take turns, so that sharing a CPU
 * costs neither of them anything, while waking one on a CPU that sleeps costs more than handling a request. Clients
 * move, so that it looks again from time to time; with several of them it goes where the scheduler wants it.
 */
class Placement {
 public:
  /** The calling thread's. */
  static Placement& OfThisThread();

  /** The thread serves a request of `client`, a thread of the system; 0 is nobody in particular. */
  void Serve(uint32_t client) {
    if (client == 0) return;
    if (client != client_) {
      client_ = client;
      requests_ = 0;
      if (cpu_ >= 0) Leave();
    } else if (++requests_ % kRequestsBetweenLooks == 0) {
      Follow();
    }
  }

  /**
   * Lets the thread run where it was allowed to before, unless somebody else has decided about that meanwhile. To be
   * called before other threads are started, which inherit where they may run.
   */
  void Leave();

 private:
  static constexpr uint32_t kRequestsBetweenLooks = 128;

  void Follow();
  bool IsStillThere() const;

  uint32_t client_ = 0;
  uint32_t requests_ = 0;
  /** Where the thread is kept, or -1. */
  int cpu_ = -1;
  cpu_set_t allowed_;
};
