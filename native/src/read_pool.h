// Threads that serve READ requests. All functions but the threads' own run on one thread, the owner's.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "read_transfer.h"

class ReadPool {
 public:
  ReadPool(const ReadRoute& route, size_t maxThreads)
      : route_(route), maxThreads_(maxThreads), inlineTransfer_(route_) {}
  ReadPool(const ReadPool&) = delete;
  ReadPool& operator=(const ReadPool&) = delete;
  ~ReadPool() { Close(); }

  /** An empty request to fill and submit; requests are used again, with the memory they hold. */
  ReadRequest* Take();
  /** Has the request served: here and now when that is sure to be quicker, else by a thread. */
  void Submit(ReadRequest* request);
  void Discard(ReadRequest* request);
  uint32_t InFlight() const { return inFlight_.load(std::memory_order_relaxed); }
  /** Serves what is queued, then ends the threads. */
  void Close();

 private:
  bool WorthServingHere(const ReadRequest& request) const;
  bool StartThread();
  void Enqueue(ReadRequest* request);
  ReadRequest* Dequeue();
  void Run();

  const ReadRoute route_;
  const size_t maxThreads_;
  std::atomic<uint32_t> inFlight_{0};
  ReadTransfer inlineTransfer_;
  std::vector<pthread_t> threads_;

  std::mutex mutex_;
  // Guarded by mutex_.
  std::condition_variable wakeUp_;
  ReadRequest* first_ = nullptr;
  ReadRequest* last_ = nullptr;
  size_t queued_ = 0;
  size_t idleThreads_ = 0;
  bool closing_ = false;
  ReadRequest* unused_ = nullptr;
};
