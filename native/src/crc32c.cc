// CRC32C (Castagnoli polynomial, reflected: 0x82f63b78), by the processor's instruction where it has one.
// No inversion before or after: that is how ext4 chains its checksums.
#include <cstring>

#include "arguments.h"
#include "registration.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace {

using Crc32cFunction = uint32_t (*)(uint32_t crc, const uint8_t* bytes, size_t length);

/** table[k][b]: what byte b does to the checksum when k more bytes follow it in the same step. */
struct SlicingTables {
  uint32_t table[8][256];

  constexpr SlicingTables() : table() {
    for (uint32_t byte = 0; byte < 256; byte++) {
      uint32_t crc = byte;
      for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
      table[0][byte] = crc;
    }
    for (int slice = 1; slice < 8; slice++)
      for (uint32_t byte = 0; byte < 256; byte++)
        table[slice][byte] = (table[slice - 1][byte] >> 8) ^ table[0][table[slice - 1][byte] & 0xff];
  }
};
constexpr SlicingTables kSlicing;

uint32_t Load32le(const uint8_t* bytes) {
  return bytes[0] | uint32_t{bytes[1]} << 8 | uint32_t{bytes[2]} << 16 | uint32_t{bytes[3]} << 24;
}

uint32_t Portable(uint32_t crc, const uint8_t* bytes, size_t length) {
  const auto& t = kSlicing.table;
  for (; length >= 8; bytes += 8, length -= 8) {
    const uint32_t low = crc ^ Load32le(bytes);
    const uint32_t high = Load32le(bytes + 4);
    crc = t[7][low & 0xff] ^ t[6][low >> 8 & 0xff] ^ t[5][low >> 16 & 0xff] ^ t[4][low >> 24] ^
          t[3][high & 0xff] ^ t[2][high >> 8 & 0xff] ^ t[1][high >> 16 & 0xff] ^ t[0][high >> 24];
  }
  for (; length > 0; bytes++, length--) crc = (crc >> 8) ^ t[0][(crc ^ *bytes) & 0xff];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t Hardware(uint32_t crc, const uint8_t* bytes, size_t length) {
  uint64_t wide = crc;
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    std::memcpy(&word, bytes, sizeof word);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = static_cast<uint32_t>(wide);
  for (; length > 0; bytes++, length--) crc = _mm_crc32_u8(crc, *bytes);
  return crc;
}

Crc32cFunction Choose() { return __builtin_cpu_supports("sse4.2") ? Hardware : Portable; }
#elif defined(__aarch64__)
__attribute__((target("+crc"))) uint32_t Hardware(uint32_t crc, const uint8_t* bytes, size_t length) {
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    std::memcpy(&word, bytes, sizeof word);
    crc = __crc32cd(crc, word);
  }
  for (; length > 0; bytes++, length--) crc = __crc32cb(crc, *bytes);
  return crc;
}

Crc32cFunction Choose() { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0 ? Hardware : Portable; }
#else
Crc32cFunction Choose() { return Portable; }
#endif

const Crc32cFunction kBest = Choose();

Napi::Value Checksum(const Napi::CallbackInfo& info, const char* name, Crc32cFunction checksum) {
  Arguments args(info, name);
  const uint32_t crc = args.Uint32(0, "crc");
  const Bytes bytes = args.Uint8Array(1, "bytes");
  const double length = static_cast<double>(bytes.length);
  const size_t start = static_cast<size_t>(args.Integer(2, "start", 0, length));
  const size_t end = static_cast<size_t>(args.Integer(3, "end", static_cast<double>(start), length));
  if (args.Invalid()) return args.Thrown();
  return Napi::Number::New(args.Env(), start == end ? crc : checksum(crc, bytes.data + start, end - start));
}

Napi::Value Crc32c(const Napi::CallbackInfo& info) { return Checksum(info, "crc32c", kBest); }
Napi::Value Crc32cPortable(const Napi::CallbackInfo& info) { return Checksum(info, "crc32cPortable", Portable); }

}  // namespace

void RegisterCrc32c(Napi::Env env, Napi::Object exports) {
  Export<Crc32c>(env, exports, "crc32c");
  Export<Crc32cPortable>(env, exports, "crc32cPortable");
}
