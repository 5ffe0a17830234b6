// A record of what happens at a block device, shared by processes: see device-log.ts for how it is read.
#pragma once
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/** Records begin at this offset of the file. */
enum { kLogHeaderBytes = 4096, kLogRecordBytes = 48, kLogAlignment = 16 };

enum LogKind { kLogWrite = 1, kLogDurableWrite = 2, kLogFlush = 3, kLogDiscard = 4, kLogBufferedWrite = 5 };

struct LogHeader {
  /** Bytes taken by records, which may still be unfinished. */
  uint64_t usedBytes;
  /** Counts beginnings and ends of operations. */
  uint64_t clock;
  uint64_t capacityBytes;
  /** Set when a record did not fit. */
  uint64_t lost;
  /** Nothing is recorded while this is 0. */
  uint64_t isOn;
};

struct LogRecord {
  uint32_t kind;
  uint32_t party;
  uint64_t begin;
  /** 0: has not ended. All ones: has failed. */
  uint64_t end;
  uint64_t offsetBytes;
  uint64_t lengthBytes;
  uint64_t dataBytes;
};

static inline struct LogHeader* LogOpen(const char* path) {
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return NULL;
  struct stat status;
  void* memory = MAP_FAILED;
  if (fstat(fd, &status) == 0) memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return memory == MAP_FAILED ? NULL : (struct LogHeader*)memory;
}

static inline struct LogRecord* LogBegin(struct LogHeader* log, uint32_t kind, uint32_t party, uint64_t offset,
                                         uint64_t length, const void* data) {
  if (log == NULL || __atomic_load_n(&log->isOn, __ATOMIC_ACQUIRE) == 0) return NULL;
  const uint64_t dataBytes = data == NULL ? 0 : length;
  const uint64_t size = (kLogRecordBytes + dataBytes + kLogAlignment - 1) / kLogAlignment * kLogAlignment;
  const uint64_t at = __atomic_fetch_add(&log->usedBytes, size, __ATOMIC_ACQ_REL);
  if (kLogHeaderBytes + at + size > log->capacityBytes) {
    __atomic_store_n(&log->lost, 1, __ATOMIC_RELEASE);
    return NULL;
  }
  struct LogRecord* record = (struct LogRecord*)((char*)log + kLogHeaderBytes + at);
  record->kind = kind;
  record->party = party;
  record->offsetBytes = offset;
  record->lengthBytes = length;
  record->dataBytes = dataBytes;
  record->end = 0;
  if (data != NULL) memcpy((char*)record + kLogRecordBytes, data, dataBytes);
  __atomic_store_n(&record->begin, __atomic_add_fetch(&log->clock, 1, __ATOMIC_ACQ_REL), __ATOMIC_RELEASE);
  return record;
}

static inline void LogEnd(struct LogHeader* log, struct LogRecord* record, int isGood) {
  if (record == NULL) return;
  const uint64_t now = isGood ? __atomic_add_fetch(&log->clock, 1, __ATOMIC_ACQ_REL) : ~(uint64_t)0;
  __atomic_store_n(&record->end, now, __ATOMIC_RELEASE);
}
