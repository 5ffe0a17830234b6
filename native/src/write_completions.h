// Writes that have ended, on their way from the threads that did them to the main one.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "main_thread_call.h"

struct WriteCompletion {
  uint32_t token;
  /** 0 or a positive errno. */
  int error;
};

class WriteCompletions {
 public:
  /** From any thread. */
  void Add(uint32_t token, int error) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ended_.push_back({token, error});
    }
    added_.notify_one();
    if (call_ != nullptr) call_->Request();
  }

  /** Moves all that have ended behind what `into` holds already. */
  void Take(std::vector<WriteCompletion>* into) {
    const std::lock_guard<std::mutex> lock(mutex_);
    into->insert(into->end(), ended_.begin(), ended_.end());
    ended_.clear();
  }

  void WaitForOne() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (ended_.empty()) added_.wait(lock);
  }

  /** Changed only while no write is under way. */
  MainThreadCall** callSlot() { return &call_; }
  MainThreadCall* call() const { return call_; }

 private:
  MainThreadCall* call_ = nullptr;
  std::mutex mutex_;
  // Guarded by mutex_.
  std::condition_variable added_;
  std::vector<WriteCompletion> ended_;
};
