// Threads that serve requests of one kind. All functions but the threads' own run on one thread, the owner's.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "serving_thread.h"

/**
 * `Transfer` serves one request at a time: it is made from a `Transfer::Route`, has `Serve(Request&)`, and
 * `Transfer::Request` has `next` and `Reset()`.
 */
template <typename Transfer>
class TransferPool {
 public:
  using Request = typename Transfer::Request;
  using Route = typename Transfer::Route;

  TransferPool(const Route& route, size_t maxThreads, const char* threadName)
      : route_(route), maxThreads_(maxThreads), threadName_(threadName), inlineTransfer_(route_) {}
  TransferPool(const TransferPool&) = delete;
  TransferPool& operator=(const TransferPool&) = delete;
  ~TransferPool() { Close(); }

  const Route& route() const { return route_; }
  uint32_t InFlight() const { return inFlight_.load(std::memory_order_relaxed); }

  /** An empty request to fill and submit; requests are used again, with the memory they hold. */
  Request* Take() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (unused_ != nullptr) {
        Request* request = unused_;
        unused_ = request->next;
        request->next = nullptr;
        request->Reset();
        return request;
      }
    }
    return new Request;
  }

  void Discard(Request* request) {
    const std::lock_guard<std::mutex> lock(mutex_);
    request->next = unused_;
    unused_ = request;
  }

  /** Has the request served by the caller's own thread. */
  void ServeHere(Request* request) {
    inlineTransfer_.Serve(*request);
    Discard(request);
  }

  /** Has the request served by a thread. */
  void Submit(Request* request) {
    inFlight_.fetch_add(1, std::memory_order_relaxed);
    bool needsThread;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      (last_ == nullptr ? first_ : last_->next) = request;
      last_ = request;
      queued_++;
      needsThread = queued_ > idleThreads_ && threads_.size() < maxThreads_;
    }
    wakeUp_.notify_one();
    if (!needsThread || StartThread() || !threads_.empty()) return;
    // No thread could be had at all, so nobody else takes the request from the queue.
    ServeHere(Dequeue());
    inFlight_.fetch_sub(1, std::memory_order_relaxed);
  }

  /** Blocks until nothing is in flight any more. */
  void WaitUntilIdle() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (InFlight() != 0) idle_.wait(lock);
  }

  /** Serves what is queued, then ends the threads. */
  void Close() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      closing_ = true;
    }
    wakeUp_.notify_all();
    for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
    threads_.clear();
    while (unused_ != nullptr) {
      Request* request = unused_;
      unused_ = request->next;
      delete request;
    }
  }

 private:
  /** Signals are for the main thread: the new one starts with all of them blocked. */
  bool StartThread() {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    const auto run = [](void* pool) -> void* {
      pthread_setname_np(pthread_self(), static_cast<TransferPool*>(pool)->threadName_);
      static_cast<TransferPool*>(pool)->Run();
      return nullptr;
    };
    const bool started = pthread_create(&thread, nullptr, run, this) == 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (!started) return false;
    threads_.push_back(thread);
    return true;
  }

  /** The next request, once there is one; null when the pool closes and the queue is empty. */
  Request* Dequeue() {
    std::unique_lock<std::mutex> lock(mutex_);
    idleThreads_++;
    while (first_ == nullptr && !closing_) wakeUp_.wait(lock);
    idleThreads_--;
    Request* request = first_;
    if (request == nullptr) return nullptr;
    first_ = request->next;
    if (first_ == nullptr) last_ = nullptr;
    queued_--;
    return request;
  }

  void Run() {
    const auto transfer = std::make_unique<Transfer>(route_);
    while (Request* request = Dequeue()) {
      ServingThread::Enter();
      transfer->Serve(*request);
      Discard(request);
      if (inFlight_.fetch_sub(1, std::memory_order_relaxed) != 1) continue;
      const std::lock_guard<std::mutex> lock(mutex_);
      idle_.notify_one();
    }
  }

  const Route route_;
  const size_t maxThreads_;
  const char* const threadName_;
  std::atomic<uint32_t> inFlight_{0};
  Transfer inlineTransfer_;
  std::vector<pthread_t> threads_;

  std::mutex mutex_;
  // Guarded by mutex_.
  std::condition_variable wakeUp_;
  std::condition_variable idle_;
  Request* first_ = nullptr;
  Request* last_ = nullptr;
  size_t queued_ = 0;
  size_t idleThreads_ = 0;
  bool closing_ = false;
  Request* unused_ = nullptr;
};
