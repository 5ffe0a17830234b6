// Stretches of the device, as JavaScript hands them over: pairs of numbers in a Float64Array.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

/** Bytes of the device from `offset` on, or zeros. */
struct Segment {
  static constexpr int64_t kZeros = -1;

  int64_t offset;
  size_t length;
};

/**
 * Appends `count` pairs of offset (`leastOffset` or more) and length (1 or more), neighbours joined. Returns how many
 * bytes they are together, or 0 when one is malformed or all together exceed `maxBytes`.
 */
inline size_t AppendSegments(std::vector<Segment>* segments, const double* pairs, size_t count, double leastOffset,
                             size_t maxBytes) {
  constexpr double kMaxOffset = 9007199254740991.0;
  size_t totalBytes = 0;
  for (size_t i = 0; i < count; i++) {
    const double offset = pairs[2 * i];
    const double length = pairs[2 * i + 1];
    if (!(offset >= leastOffset && offset <= kMaxOffset && length >= 1 && length <= static_cast<double>(maxBytes)))
      return 0;
    const Segment segment = {static_cast<int64_t>(offset), static_cast<size_t>(length)};
    if (static_cast<double>(segment.offset) != offset || static_cast<double>(segment.length) != length) return 0;
    totalBytes += segment.length;
    if (totalBytes > maxBytes) return 0;
    Segment* last = segments->empty() ? nullptr : &segments->back();
    const bool bothZeros = last != nullptr && last->offset == Segment::kZeros && segment.offset == Segment::kZeros;
    const bool adjacent = last != nullptr && last->offset != Segment::kZeros &&
                          last->offset + static_cast<int64_t>(last->length) == segment.offset;
    if (bothZeros || adjacent) last->length += segment.length;
    else segments->push_back(segment);
  }
  return totalBytes;
}
