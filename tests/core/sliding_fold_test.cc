#include "ops/sliding_fold.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

namespace sl::ops {
namespace {

// The expected result of `slide`, computed separately for each window.
template <typename T>
std::vector<T> expected(Fold fold, DType dtype, const Slide& s, const std::vector<T>& x) {
  std::vector<T> y;
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t i = 0; i < s.count; ++i) {
      for (int64_t c = 0; c < s.inner; ++c) {
        double value = identity(fold, dtype);
        for (int64_t k = 0; k < s.taps; ++k) {
          const int64_t at = s.first + i * s.stride + k * s.dilation;
          if (at < 0 || at >= s.size) continue;
          const double tap = x[static_cast<size_t>((o * s.size + at) * s.inner + c)];
          if (fold == Fold::kSum) value += tap;
          if (fold == Fold::kMax) value = std::max(value, tap);
          if (fold == Fold::kMin) value = std::min(value, tap);
        }
        y.push_back(static_cast<T>(value));
      }
    }
  }
  return y;
}

template <typename T>
void check(DType dtype, double largest, double tolerance) {
  std::mt19937 rng(5);
  const auto pick = [&](std::vector<int64_t> from) { return from[rng() % from.size()]; };
  for (int n = 0; n < 600; ++n) {
    Slide s;
    s.outer = pick({1, 1, 3});
    s.size = pick({1, 2, 7, 40, 300});
    s.inner = pick({1, 1, 2, 5, 8, 33});
    s.taps = pick({1, 2, 3, 5, 16, 31, 100, 1000});
    s.stride = pick({1, 1, 2, 3, 20});
    s.dilation = pick({1, 1, 2, 7});
    s.first = -pick({0, 1, 6, 200});
    s.count = pick({0, 1, 2, 9, 200});
    std::vector<T> x(static_cast<size_t>(s.outer * s.size * s.inner));
    std::uniform_real_distribution<double> uniform(-largest, largest);
    for (T& v : x) v = static_cast<T>(uniform(rng));
    std::vector<T> y(static_cast<size_t>(s.output_size()));
    std::vector<T> scratch(static_cast<size_t>(s.scratch_size()));
    for (const Fold fold : {Fold::kMin, Fold::kMax, Fold::kSum}) {
      const std::vector<T> want = expected(fold, dtype, s, x);
      slide(fold, dtype, s, reinterpret_cast<const std::byte*>(x.data()),
            reinterpret_cast<std::byte*>(y.data()), reinterpret_cast<std::byte*>(scratch.data()));
      const bool same = std::equal(want.begin(), want.end(), y.begin(), [&](T a, T b) {
        return a == b || std::abs(static_cast<double>(a) - static_cast<double>(b)) <= tolerance;
      });
      INFO("outer " << s.outer << " size " << s.size << " inner " << s.inner << " taps " << s.taps
                    << " stride " << s.stride << " dilation " << s.dilation << " first " << s.first
                    << " count " << s.count);
      REQUIRE(same);
    }
  }
}

TEST_CASE("sliding windows agree with separately computed ones", "[ops][pooling]") {
  check<float>(DType::kFloat32, 3.0, 1e-4);
  check<int32_t>(DType::kInt32, 1000.0, 0.0);
}

TEST_CASE("sums of small integers wrap around", "[ops][pooling]") {
  const std::vector<int8_t> x(200, 100);
  std::vector<int8_t> y(101), scratch(400);
  const Slide s{1, 200, 1, 100, 1, 1, 0, 101};
  slide(Fold::kSum, DType::kInt8, s, reinterpret_cast<const std::byte*>(x.data()),
        reinterpret_cast<std::byte*>(y.data()), reinterpret_cast<std::byte*>(scratch.data()));
  for (const int8_t v : y) CHECK(v == static_cast<int8_t>(10000));
}

}  // namespace
}  // namespace sl::ops
