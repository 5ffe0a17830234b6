// A short wait for the next request before going to sleep.
#pragma once

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstdint>

/**
 * A client that was just answered often asks again within microseconds, while falling asleep and being
 * woken on another CPU takes tens of them. Waiting briefly pays off as long as it is often lucky: after
 * bad luck the next opportunities are passed up, ever more of them until luck returns.
 */
class SpinWait {
 public:
  explicit SpinWait(int64_t limitNs) : limitNs_(limitNs) {}

  /** Calls `attempt` until it returns something other than 0 or time is up, and returns its last result. */
  template <typename Attempt>
  long Until(Attempt attempt) {
    if (limitNs_ == 0) return 0;
    if (passUp_ > 0) {
      passUp_--;
      return 0;
    }
    const int64_t start = NowNs();
    do {
      // Lets the client go first where it shares the CPU with us.
      sched_yield();
      const long result = attempt();
      if (result != 0) {
        penalty_ = 1;
        return result;
      }
    } while (NowNs() - start < limitNs_);
    passUp_ = penalty_;
    penalty_ = std::min(2 * penalty_, kMaxPenalty);
    return 0;
  }

 private:
  static constexpr unsigned kMaxPenalty = 64;

  static int64_t NowNs() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * int64_t{1000000000} + now.tv_nsec;
  }

  int64_t limitNs_;
  unsigned passUp_ = 0;
  unsigned penalty_ = 1;
};
