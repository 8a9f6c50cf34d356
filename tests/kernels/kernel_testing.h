#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/simd_targets.h"

namespace sl::kernels::testing {

// Runs `body` once per instruction set that this CPU supports.
template <class Body>
void for_each_target(const Body& body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    warm_dispatch();
    body(std::string(hwy::TargetName(target)));
  }
  hwy::SetSupportedTargetsForTest(0);
  warm_dispatch();
}

// An output array between guard values, at a given offset from vector alignment.
template <class T>
class Guarded {
 public:
  Guarded(int64_t size, int64_t offset) : size_(size), begin_(kGuard + offset) {
    storage_.resize(static_cast<size_t>(begin_ + size + kGuard));
    std::memset(storage_.data(), 0x5A, storage_.size() * sizeof(T));
  }

  T* data() { return storage_.data() + begin_; }
  T& operator[](int64_t i) { return data()[i]; }

  [[nodiscard]] bool intact() const {
    for (int64_t i = 0; i < static_cast<int64_t>(storage_.size()); ++i) {
      if (i >= begin_ && i < begin_ + size_) continue;
      T guard;
      std::memset(&guard, 0x5A, sizeof(T));
      if (std::memcmp(&storage_[static_cast<size_t>(i)], &guard, sizeof(T)) != 0) return false;
    }
    return true;
  }

 private:
  static constexpr int64_t kGuard = 64;
  int64_t size_;
  int64_t begin_;
  std::vector<T> storage_;
};

inline std::vector<float> random_floats(int64_t n, float low, float high, uint32_t seed = 1) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> x;
  x.reserve(static_cast<size_t>(n) +
            1);  // no null pointer for 0 numbers: kernels add offsets to it
  for (int64_t i = 0; i < n; ++i) x.push_back(uniform(engine));
  return x;
}

inline const std::vector<int64_t>& sizes() {
  static const std::vector<int64_t> list = {0,  1,  2,  3,  4,  5,  7,  8,  9,   15,  16,
                                            17, 31, 32, 33, 47, 63, 64, 65, 100, 255, 1003};
  return list;
}

inline bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof(float)) == 0; }

// Whether two values are equal within a relative or absolute error. Equal infinities are equal, and
// so are two NaN.
inline bool close(double actual, double expected, double relative, double absolute) {
  if (std::isnan(expected)) return std::isnan(actual);
  if (std::isinf(expected) || std::isinf(actual)) return actual == expected;
  return std::abs(actual - expected) <= relative * std::abs(expected) + absolute;
}

}  // namespace sl::kernels::testing
