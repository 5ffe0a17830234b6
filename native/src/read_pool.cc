#include "read_pool.h"

#include <poll.h>
#include <signal.h>

namespace {

/** Up to here a read from the device costs less than waking a thread for it and being woken again. */
constexpr size_t kMaxInlineBytes = 16 * 1024;

}  // namespace

ReadRequest* ReadPool::Take() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (unused_ != nullptr) {
      ReadRequest* request = unused_;
      unused_ = request->next;
      request->next = nullptr;
      request->segments.clear();
      request->totalBytes = 0;
      return request;
    }
  }
  return new ReadRequest;
}

void ReadPool::Discard(ReadRequest* request) {
  const std::lock_guard<std::mutex> lock(mutex_);
  request->next = unused_;
  unused_ = request;
}

/** A small read with nothing beside it that it could hold up: neither other reads nor waiting requests. */
bool ReadPool::WorthServingHere(const ReadRequest& request) const {
  if (request.totalBytes > kMaxInlineBytes || InFlight() != 0) return false;
  pollfd channel = {route_.channelFd, POLLIN, 0};
  return poll(&channel, 1, 0) == 0;
}

void ReadPool::Submit(ReadRequest* request) {
  if (WorthServingHere(*request)) {
    inlineTransfer_.Serve(*request);
    Discard(request);
    return;
  }
  inFlight_.fetch_add(1, std::memory_order_relaxed);
  Enqueue(request);
}

void ReadPool::Enqueue(ReadRequest* request) {
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
  ReadRequest* queued = Dequeue();
  inlineTransfer_.Serve(*queued);
  Discard(queued);
  inFlight_.fetch_sub(1, std::memory_order_relaxed);
}

/** Signals are for the main thread: the new one starts with all of them blocked. */
bool ReadPool::StartThread() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const auto run = [](void* pool) -> void* {
    static_cast<ReadPool*>(pool)->Run();
    return nullptr;
  };
  const bool started = pthread_create(&thread, nullptr, run, this) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!started) return false;
  pthread_setname_np(thread, "fuse4fs-read");
  threads_.push_back(thread);
  return true;
}

/** The next request, once there is one; null when the pool closes and the queue is empty. */
ReadRequest* ReadPool::Dequeue() {
  std::unique_lock<std::mutex> lock(mutex_);
  idleThreads_++;
  while (first_ == nullptr && !closing_) wakeUp_.wait(lock);
  idleThreads_--;
  ReadRequest* request = first_;
  if (request == nullptr) return nullptr;
  first_ = request->next;
  if (first_ == nullptr) last_ = nullptr;
  queued_--;
  return request;
}

void ReadPool::Run() {
  const auto transfer = std::make_unique<ReadTransfer>(route_);
  while (ReadRequest* request = Dequeue()) {
    transfer->Serve(*request);
    Discard(request);
    inFlight_.fetch_sub(1, std::memory_order_relaxed);
  }
}

void ReadPool::Close() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
  }
  wakeUp_.notify_all();
  for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
  threads_.clear();
  while (unused_ != nullptr) {
    ReadRequest* request = unused_;
    unused_ = request->next;
    delete request;
  }
}
