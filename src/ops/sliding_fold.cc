#include "ops/sliding_fold.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "core/ratio.h"
#include "kernels/pointwise.h"
#include "kernels/reduce.h"
#include "ops/elementwise.h"

namespace sl::ops {
namespace {

using kernels::Binary;

Binary binary_of(Fold fold) {
  if (fold == Fold::kSum) return Binary::kAdd;
  return fold == Fold::kMin ? Binary::kMinimum : Binary::kMaximum;
}

// Calls fn with the operation on integers of type T.
template <typename T, typename Fn>
void with_operation(Fold fold, Fn&& fn) {
  switch (fold) {
    case Fold::kMin:
      return fn([](T a, T b) { return std::min(a, b); });
    case Fold::kMax:
      return fn([](T a, T b) { return std::max(a, b); });
    case Fold::kSum:
      return fn([](T a, T b) {
        return static_cast<T>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
      });
  }
}

// y = y op x
template <typename T>
void combine(Fold fold, const T* x, int64_t n, T* y) {
  if constexpr (std::is_same_v<T, float>) {
    kernels::binary(binary_of(fold), y, x, y, n);
  } else {
    with_operation<T>(fold, [&](auto op) {
      for (int64_t i = 0; i < n; ++i) y[i] = op(y[i], x[i]);
    });
  }
}

// y[i] = x[i] op x[i + pitch] op ... over `rows` rows. y may be x.
template <typename T>
void fold_rows(Fold fold, const T* x, int64_t pitch, int64_t rows, int64_t n, T* y) {
  if constexpr (std::is_same_v<T, float>) {
    kernels::fold_rows(binary_of(fold), x, pitch, rows, n, y);
  } else {
    if (x != y) std::copy_n(x, n, y);
    for (int64_t r = 1; r < rows; ++r) combine(fold, x + r * pitch, n, y);
  }
}

// Folds `count` windows, `step` elements apart, of `taps` rows each.
template <typename T>
void fold_windows(Fold fold, const T* x, int64_t step, int64_t count, int64_t pitch, int64_t taps,
                  int64_t n, T* y) {
  if constexpr (std::is_same_v<T, float>) {
    kernels::fold_windows(binary_of(fold), x, step, count, pitch, taps, n, y);
  } else {
    for (int64_t i = 0; i < count; ++i, x += step, y += n) fold_rows(fold, x, pitch, taps, n, y);
  }
}

// Number of passes over the data in fold_by_doubling.
int64_t doubling_passes(int64_t taps) {
  const auto bits = static_cast<uint64_t>(taps);
  return static_cast<int64_t>(std::bit_width(bits)) + std::popcount(bits);
}

// Folds windows of 1, 2, 4, ... taps, each from the one before, and combines each result from some
// of them. `scratch` has n + (taps - 1) * pitch elements.
template <typename T>
void fold_by_doubling(Fold fold, const T* x, int64_t pitch, int64_t taps, int64_t n, T* y,
                      T* scratch) {
  const T* windows = x;
  int64_t done = 0;
  for (int64_t width = 1;; width *= 2) {
    if (taps & width) {
      const T* next = windows + done * pitch;
      done == 0 ? static_cast<void>(std::copy_n(next, n, y)) : combine(fold, next, n, y);
      done += width;
    }
    if (done == taps) return;
    fold_rows(fold, windows, width * pitch, 2, n + (taps - 2 * width) * pitch, scratch);
    windows = scratch;
  }
}

// y[i] = x[i] op x[i + pitch] op ... over `taps` elements.
template <typename T>
void fold_taps(Fold fold, const T* x, int64_t pitch, int64_t taps, int64_t n, T* y, T* scratch) {
  // A pass loads two values and stores one.
  if (2 * doubling_passes(taps) * (n + taps * pitch) < taps * n) {
    fold_by_doubling(fold, x, pitch, taps, n, y, scratch);
  } else {
    fold_rows(fold, x, pitch, taps, n, y);
  }
}

// The minimum or, if `greatest`, the maximum value of T; uint8_t stands for bool.
template <typename T>
double extreme(bool greatest) {
  if constexpr (std::is_same_v<T, float>) {
    return greatest ? HUGE_VAL : -HUGE_VAL;
  } else if constexpr (std::is_same_v<T, uint8_t>) {
    return greatest ? 1 : 0;
  } else {
    return greatest ? std::numeric_limits<T>::max() : std::numeric_limits<T>::min();
  }
}

template <typename T>
double identity_of(Fold fold) {
  return fold == Fold::kSum ? 0 : extreme<T>(fold == Fold::kMin);
}

template <typename T>
class Slider {
 public:
  Slider(Fold fold, const Slide& slide, T* scratch) : fold_(fold), s_(slide), scratch_(scratch) {}

  // Folds one of the `outer` rows.
  void row(const T* x, T* y) const {
    const auto [begin, end] = whole_windows();
    for (int64_t i = 0; i < begin; ++i) cut_window(i, x, y);
    if (begin < end) whole_windows(x, y, begin, end);
    for (int64_t i = end; i < s_.count; ++i) cut_window(i, x, y);
  }

 private:
  struct Range {
    int64_t begin;
    int64_t end;
  };

  int64_t pitch() const { return s_.dilation * s_.inner; }
  int64_t start(int64_t i) const { return s_.first + i * s_.stride; }

  // The range of outputs whose windows lie within the data.
  Range whole_windows() const {
    const int64_t last = s_.size - 1 - (s_.taps - 1) * s_.dilation - s_.first;
    const int64_t begin = s_.first < 0 ? ceil_div(-s_.first, s_.stride) : 0;
    const int64_t end = last < 0 ? 0 : last / s_.stride + 1;
    if (begin >= end) return {s_.count, s_.count};
    return {std::min(begin, s_.count), std::min(end, s_.count)};
  }

  void cut_window(int64_t i, const T* x, T* y) const {
    const int64_t at = start(i);
    const int64_t begin = at < 0 ? ceil_div(-at, s_.dilation) : 0;
    const int64_t end = at < s_.size ? std::min(s_.taps, ceil_div(s_.size - at, s_.dilation)) : 0;
    T* out = y + i * s_.inner;
    if (begin >= end) {
      std::fill_n(out, s_.inner, static_cast<T>(identity_of<T>(fold_)));
    } else {
      fold_rows(fold_, x + (at + begin * s_.dilation) * s_.inner, pitch(), end - begin, s_.inner,
                out);
    }
  }

  void whole_windows(const T* x, T* y, int64_t begin, int64_t end) const {
    x += start(begin) * s_.inner;
    y += begin * s_.inner;
    const int64_t count = end - begin;
    if (s_.stride == 1) {
      fold_taps(fold_, x, pitch(), s_.taps, count * s_.inner, y, scratch_);
    } else if (pays_to_make_all(count)) {
      T* all = scratch_ + s_.size * s_.inner;
      const int64_t positions = (count - 1) * s_.stride + 1;
      fold_taps(fold_, x, pitch(), s_.taps, positions * s_.inner, all, scratch_);
      pick(all, count, y);
    } else {
      fold_windows(fold_, x, s_.stride * s_.inner, count, pitch(), s_.taps, s_.inner, y);
    }
  }

  // Whether it is faster to fold windows at all positions and take every stride-th result. Wide
  // windows share work, and with few channels neighbouring positions fill the vectors.
  bool pays_to_make_all(int64_t count) const {
    constexpr int64_t kVector = 8;
    const int64_t each = count * s_.taps * std::max(s_.inner, kVector);
    const int64_t position_cost = std::min(s_.taps, 2 * doubling_passes(s_.taps)) + 1;
    const int64_t span = (count - 1) * s_.stride + 1 + (s_.taps - 1) * s_.dilation;
    return span * s_.inner * position_cost < each;
  }

  void pick(const T* from, int64_t count, T* y) const {
    for (int64_t i = 0; i < count; ++i, from += s_.stride * s_.inner, y += s_.inner) {
      std::copy_n(from, s_.inner, y);
    }
  }

  Fold fold_;
  const Slide& s_;
  T* scratch_;
};

}  // namespace

double identity(Fold fold, DType dtype) {
  double out = 0;
  with_element(dtype, [&](auto element) {
    using T = typename decltype(element)::Type;
    if constexpr (!std::is_same_v<T, complex64>) out = identity_of<T>(fold);
  });
  return out;
}

void slide(Fold fold, DType dtype, const Slide& slide, const std::byte* x, std::byte* y,
           std::byte* scratch) {
  with_element(dtype, [&](auto element) {
    using T = typename decltype(element)::Type;
    if constexpr (!std::is_same_v<T, complex64>) {
      const Slider<T> slider(fold, slide, reinterpret_cast<T*>(scratch));
      const auto* from = reinterpret_cast<const T*>(x);
      auto* to = reinterpret_cast<T*>(y);
      for (int64_t i = 0; i < slide.outer; ++i) {
        slider.row(from + i * slide.size * slide.inner, to + i * slide.count * slide.inner);
      }
    }
  });
}

}  // namespace sl::ops
