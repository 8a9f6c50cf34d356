// How an axis is padded with zeros or truncated to a transform's length.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/config.h"

namespace sl {

enum class FftPadding { kCenter, kRight };

inline FftPadding read_fft_padding(Config& config, const char* field) {
  return static_cast<FftPadding>(config.choice(field, {"center", "right"}, 1));
}

// Fits an axis to another length: values [from, from + count) are copied to [to, to + count), the
// other values are zero.
struct Fit {
  Fit(int64_t size, int64_t length, FftPadding padding) : count(std::min(size, length)) {
    if (padding == FftPadding::kRight) return;
    from = (size - count) / 2;
    to = (length - count) / 2;
  }
  int64_t count;
  int64_t from = 0;
  int64_t to = 0;
};

}  // namespace sl
