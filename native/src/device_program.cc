// Programs for a device: writes, flushes and discards that a thread runs one after the other.
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "arguments.h"
#include "registration.h"
#include "serving_thread.h"
#include "system_call.h"

namespace {

constexpr double kMaxAlignment = 65536;
constexpr double kMaxThreads = 64;
constexpr size_t kMaxSteps = 1 << 20;

/** As native/addon.ts numbers them. */
enum class StepKind { kWrite = 0, kDurableWrite = 1, kFlush = 2, kDiscard = 3 };
constexpr double kLastStepKind = 3;

struct Step {
  StepKind kind;
  int64_t offset;
  size_t length;
  /** Of a write; JavaScript keeps the memory until the program has ended. */
  const uint8_t* data;
};

struct Program {
  uint32_t id = 0;
  std::vector<Step> steps;
  // Guarded by the runner's mutex.
  bool ended = false;
  int error = 0;
};

/** The two ways to a device: `direct` (or -1) bypasses the page cache for what is aligned. */
struct Route {
  FileDescriptor buffered;
  FileDescriptor direct;
  size_t alignment;
};

bool IsAligned(const Route& route, const uint8_t* data, size_t length, int64_t offset) {
  const size_t mask = route.alignment - 1;
  return ((reinterpret_cast<uintptr_t>(data) | length | static_cast<size_t>(offset)) & mask) == 0;
}

int Flush(const Route& route) {
  return static_cast<int>(-OrErrno(RetryInterrupted([&] { return fdatasync(route.buffered.get()); })));
}

/** From the page cache to the device, whose own cache may keep it. */
int WriteOut(const Route& route, const Step& step) {
  constexpr unsigned kAll = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  const auto length = static_cast<int64_t>(step.length);
  return static_cast<int>(
      -OrErrno(RetryInterrupted([&] { return sync_file_range(route.buffered.get(), step.offset, length, kAll); })));
}

int Write(const Route& route, const Step& step, bool durable) {
  bool usedCache = false;
  bool useDirect = route.direct.get() >= 0;
  int flags = durable ? RWF_DSYNC : 0;
  size_t done = 0;
  while (done < step.length) {
    const uint8_t* data = step.data + done;
    const size_t length = step.length - done;
    const int64_t offset = step.offset + static_cast<int64_t>(done);
    const bool direct = useDirect && IsAligned(route, data, length, offset);
    const iovec part = {const_cast<uint8_t*>(data), length};
    const int fd = direct ? route.direct.get() : route.buffered.get();
    const long written = OrErrno(RetryInterrupted([&] { return pwritev2(fd, &part, 1, offset, flags); }));
    if (written > 0) {
      done += static_cast<size_t>(written);
      usedCache = usedCache || !direct;
    } else if (written == -EINVAL && direct) {
      useDirect = false;
    } else if (written == -EOPNOTSUPP && flags != 0) {
      flags = 0;
    } else {
      return written == 0 ? EIO : static_cast<int>(-written);
    }
  }
  if (durable) return flags == 0 ? Flush(route) : 0;
  return usedCache ? WriteOut(route, step) : 0;
}

int Discard(const Route& route, const Step& step) {
  const int fd = route.buffered.get();
  struct stat status = {};
  if (fstat(fd, &status) < 0) return errno;
  const auto length = static_cast<int64_t>(step.length);
  if (!S_ISBLK(status.st_mode)) {
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return static_cast<int>(-OrErrno(RetryInterrupted([&] { return fallocate(fd, mode, step.offset, length); })));
  }
  uint64_t range[2] = {static_cast<uint64_t>(step.offset), step.length};
  return static_cast<int>(-OrErrno(ioctl(fd, BLKDISCARD, range)));
}

int Take(const Route& route, const Step& step) {
  switch (step.kind) {
    case StepKind::kWrite:
      return Write(route, step, false);
    case StepKind::kDurableWrite:
      return Write(route, step, true);
    case StepKind::kFlush:
      return Flush(route);
    case StepKind::kDiscard:
      return Discard(route, step);
  }
  return EINVAL;
}

/** Where threads report a program that has ended. */
class EndListener {
 public:
  virtual ~EndListener() = default;
  virtual void ProgramEnded(uint32_t id) = 0;
};

/** The threads. All functions but `Run` are the owner's thread's. */
class ProgramRunner {
 public:
  ProgramRunner(std::unique_ptr<Route> route, size_t maxThreads, EndListener* listener)
      : route_(std::move(route)), maxThreads_(maxThreads), listener_(listener) {}
  ~ProgramRunner() { Close(); }

  void Submit(const std::shared_ptr<Program>& program) {
    bool needsThread;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      queue_.push_back(program);
      needsThread = queue_.size() > idleThreads_ && threads_.size() < maxThreads_;
    }
    workAvailable_.notify_one();
    if (!needsThread || StartThread() || !threads_.empty()) return;
    // No thread could be had at all, so nobody else takes the program from the queue.
    RunOne(Dequeue());
  }

  /** Blocks until the program has ended; its errno. */
  int Wait(const Program& program) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!program.ended) programEnded_.wait(lock);
    return program.error;
  }

  /** Runs what is queued, then ends the threads. */
  void Close() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      closing_ = true;
    }
    workAvailable_.notify_all();
    for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
    threads_.clear();
  }

 private:
  /** Signals are for the main thread: the new one starts with all of them blocked. */
  bool StartThread() {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    const auto run = [](void* runner) -> void* {
      pthread_setname_np(pthread_self(), "fuse4fs-device");
      static_cast<ProgramRunner*>(runner)->Run();
      return nullptr;
    };
    const bool started = pthread_create(&thread, nullptr, run, this) == 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (!started) return false;
    threads_.push_back(thread);
    return true;
  }

  void Run() {
    while (const std::shared_ptr<Program> program = Dequeue()) RunOne(program);
  }

  /** The next program, once there is one; null when the runner closes and the queue is empty. */
  std::shared_ptr<Program> Dequeue() {
    std::unique_lock<std::mutex> lock(mutex_);
    idleThreads_++;
    while (queue_.empty() && !closing_) workAvailable_.wait(lock);
    idleThreads_--;
    if (queue_.empty()) return nullptr;
    std::shared_ptr<Program> program = queue_.front();
    queue_.pop_front();
    return program;
  }

  void RunOne(const std::shared_ptr<Program>& program) {
    ServingThread::Enter();
    int error = 0;
    for (const Step& step : program->steps) {
      error = Take(*route_, step);
      if (error != 0) break;
    }
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      program->error = error;
      program->ended = true;
    }
    programEnded_.notify_all();
    listener_->ProgramEnded(program->id);
  }

  const std::unique_ptr<Route> route_;
  const size_t maxThreads_;
  EndListener* const listener_;
  std::vector<pthread_t> threads_;

  std::mutex mutex_;
  // Guarded by mutex_.
  std::condition_variable workAvailable_;
  std::condition_variable programEnded_;
  std::deque<std::shared_ptr<Program>> queue_;
  size_t idleThreads_ = 0;
  bool closing_ = false;
};

/** JavaScript's side: every program's end is reported exactly once, by `wait` or by the callback. */
class DevicePrograms : public Napi::ObjectWrap<DevicePrograms>, private EndListener {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "DevicePrograms",
                       {InstanceMethod<&DevicePrograms::Run>("run"), InstanceMethod<&DevicePrograms::Wait>("wait"),
                        InstanceMethod<&DevicePrograms::Close>("close")});
  }

  explicit DevicePrograms(const Napi::CallbackInfo& info);
  ~DevicePrograms() override { Release(); }

 private:
  static void CallJs(Napi::Env env, Napi::Function callback, DevicePrograms* self, void* id);
  static void CloseAtExit(void* self) { static_cast<DevicePrograms*>(self)->runner_->Close(); }
  using Callback = Napi::TypedThreadSafeFunction<DevicePrograms, void, CallJs>;

  Napi::Value Run(const Napi::CallbackInfo& info);
  Napi::Value Wait(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  bool ReadSteps(Arguments* args, const Napi::CallbackInfo& info, Program* program);
  void ProgramEnded(uint32_t id) override { callback_.NonBlockingCall(reinterpret_cast<void*>(uintptr_t{id})); }
  int TakeResult(uint32_t id);
  void Release();

  Napi::Env env_;
  std::unique_ptr<ProgramRunner> runner_;
  Callback callback_;
  /** Programs whose end hasn't been reported yet. Nobody but the main thread uses it. */
  std::unordered_map<uint32_t, std::shared_ptr<Program>> programs_;
  uint32_t lastId_ = 0;
};

DevicePrograms::DevicePrograms(const Napi::CallbackInfo& info) : ObjectWrap(info), env_(info.Env()) {
  Arguments args(info, "DevicePrograms");
  const int bufferedFd = args.Descriptor(0, "bufferedFd");
  const int directFd = args.DescriptorOrNone(1, "directFd");
  const auto alignment = static_cast<size_t>(args.Integer(2, "alignment", 1, kMaxAlignment));
  const auto threads = static_cast<size_t>(args.Integer(3, "threads", 1, kMaxThreads));
  const Napi::Function ended = args.Callback(4, "ended");
  if (!args.Invalid() && (alignment & (alignment - 1)) != 0) args.Reject("alignment", "a power of two");
  if (args.Invalid()) return;
  // Own duplicates: JavaScript may close its descriptors, and the numbers be given away, while threads run.
  auto route = std::unique_ptr<Route>(new Route{FileDescriptor(fcntl(bufferedFd, F_DUPFD_CLOEXEC, 0)),
                                                FileDescriptor(directFd < 0 ? -1 : fcntl(directFd, F_DUPFD_CLOEXEC, 0)),
                                                alignment});
  if (route->buffered.get() < 0 || (directFd >= 0 && route->direct.get() < 0)) {
    Napi::Error::New(env_, "DevicePrograms: a descriptor is not open").ThrowAsJavaScriptException();
    return;
  }
  callback_ = Callback::New(env_, ended, "fuse4fs-device", 0, 1, this);
  callback_.Unref(env_);
  runner_ = std::make_unique<ProgramRunner>(std::move(route), threads, static_cast<EndListener*>(this));
  napi_add_env_cleanup_hook(env_, CloseAtExit, this);
}

bool DevicePrograms::ReadSteps(Arguments* args, const Napi::CallbackInfo& info, Program* program) {
  size_t numbers = 0;
  const double* spec = args->Float64Array(0, "steps", &numbers);
  if (args->Invalid()) return false;
  if (!info[1].IsArray()) args->Reject("bytes", "an array");
  if (numbers % 3 != 0 || numbers / 3 > kMaxSteps) args->Reject("steps", "triples of kind, offset and length");
  if (args->Invalid()) return false;
  const auto bytes = info[1].As<Napi::Array>();
  uint32_t used = 0;
  for (size_t at = 0; at < numbers; at += 3) {
    Step step = {};
    const bool valid = spec[at] >= 0 && spec[at] <= kLastStepKind && spec[at + 1] >= 0 && spec[at + 2] >= 0;
    if (!valid) {
      args->Reject("steps", "kinds, offsets and lengths that exist");
      return false;
    }
    step.kind = static_cast<StepKind>(static_cast<int>(spec[at]));
    step.offset = static_cast<int64_t>(spec[at + 1]);
    step.length = static_cast<size_t>(spec[at + 2]);
    if (step.kind == StepKind::kWrite || step.kind == StepKind::kDurableWrite) {
      const Napi::Value value = bytes.Get(used++);
      if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
        args->Reject("bytes", "a Uint8Array for each write");
        return false;
      }
      const auto array = value.As<Napi::Uint8Array>();
      step.data = array.Data();
      step.length = array.ByteLength();
    }
    program->steps.push_back(step);
  }
  return true;
}

Napi::Value DevicePrograms::Run(const Napi::CallbackInfo& info) {
  Arguments args(info, "run");
  const auto program = std::make_shared<Program>();
  if (!ReadSteps(&args, info, program.get())) return args.Thrown();
  if (runner_ == nullptr) {
    Napi::Error::New(env_, "run: the device is closed").ThrowAsJavaScriptException();
    return args.Thrown();
  }
  // 0 stands for no program.
  do lastId_++;
  while (lastId_ == 0 || programs_.count(lastId_) != 0);
  program->id = lastId_;
  // The event loop stays alive as long as somebody is to be told, and so does this object.
  if (programs_.empty()) {
    callback_.Ref(env_);
    Ref();
  }
  programs_[program->id] = program;
  runner_->Submit(program);
  return Napi::Number::New(env_, program->id);
}

/** The program's errno; its end counts as reported. -1 when it was reported before, or never existed. */
int DevicePrograms::TakeResult(uint32_t id) {
  const auto found = programs_.find(id);
  if (found == programs_.end()) return -1;
  const int error = runner_->Wait(*found->second);
  programs_.erase(found);
  if (programs_.empty()) {
    callback_.Unref(env_);
    Unref();
  }
  return error;
}

Napi::Value DevicePrograms::Wait(const Napi::CallbackInfo& info) {
  Arguments args(info, "wait");
  const uint32_t id = args.Uint32(0, "program");
  if (args.Invalid()) return args.Thrown();
  return Napi::Number::New(env_, TakeResult(id));
}

/** On the main thread, once for each program that has ended. Without an environment the process is ending. */
void DevicePrograms::CallJs(Napi::Env env, Napi::Function callback, DevicePrograms* self, void* id) {
  if (env == nullptr || callback == nullptr) return;
  const auto program = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(id));
  const int error = self->TakeResult(program);
  if (error >= 0) callback.Call({Napi::Number::New(env, program), Napi::Number::New(env, error)});
}

Napi::Value DevicePrograms::Close(const Napi::CallbackInfo& info) {
  if (!programs_.empty()) {
    Napi::Error::New(env_, "close: programs are under way").ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  Release();
  return info.Env().Undefined();
}

void DevicePrograms::Release() {
  if (runner_ == nullptr) return;
  napi_remove_env_cleanup_hook(env_, CloseAtExit, this);
  runner_.reset();
  callback_.Abort();
}

}  // namespace

void RegisterDeviceProgram(Napi::Env env, Napi::Object exports) {
  exports.Set("DevicePrograms", DevicePrograms::Define(env));
}
