#include "kernels/complex.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

TEST_CASE("complex products agree with the reference", "[kernels][complex]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : sizes()) {
      INFO(target << " n=" << n);
      std::vector<float> x = random_floats(2 * n, -1.0f, 1.0f, 1), want(x.size());
      const std::vector<float> w = random_floats(2 * n, -1.0f, 1.0f, 2);
      Guarded<float> y(2 * n, 1);
      reference::sum_products_complex(x.data(), 0, w.data(), 0, 1, n, want.data());
      multiply_complex(x.data(), w.data(), y.data(), n);
      multiply_complex(x.data(), w.data(), x.data(), n);
      for (int64_t i = 0; i < 2 * n; ++i) {
        const auto at = static_cast<size_t>(i);
        CHECK(close(y[i], want[at], 0, 3e-7));
        CHECK(same_bits(x[at], y[i]));
      }
      CHECK(y.intact());
    }
  });
}

TEST_CASE("sums of complex products agree with the reference", "[kernels][complex]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : sizes()) {
      for (const int64_t count : {0, 1, 5}) {
        INFO(target << " n=" << n << " count=" << count);
        const int64_t step = 2 * n + 3;
        const std::vector<float> x = random_floats(5 * step, -1.0f, 1.0f, 1);
        const std::vector<float> w = random_floats(5 * step, -1.0f, 1.0f, 2);
        std::vector<float> want(static_cast<size_t>(2 * n));
        Guarded<float> y(2 * n, 1);
        // The first factors are read in reverse order.
        const float* last = x.data() + std::max<int64_t>(count - 1, 0) * step;
        sum_products_complex(last, -step, w.data(), step, count, n, y.data());
        reference::sum_products_complex(last, -step, w.data(), step, count, n, want.data());
        for (int64_t i = 0; i < 2 * n; ++i) {
          CHECK(close(y[i], want[static_cast<size_t>(i)], 0, 2e-6));
        }
        CHECK(y.intact());
      }
    }
  });
}

TEST_CASE("magnitudes agree with the reference at any size of value", "[kernels][complex]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : sizes()) {
      for (const float scale : {1.0f, 1e-25f, 1e25f, 1e-42f, 0.0f}) {
        INFO(target << " n=" << n << " scale=" << scale);
        std::vector<float> x = random_floats(2 * n, -3.0f, 3.0f), want(static_cast<size_t>(n));
        for (float& v : x) v *= scale;
        Guarded<float> y(n, 1);
        magnitude(x.data(), y.data(), n);
        reference::magnitude(x.data(), want.data(), n);
        for (int64_t i = 0; i < n; ++i) {
          CHECK(close(y[i], want[static_cast<size_t>(i)], 5e-7, 3e-45));
        }
        CHECK(y.intact());
      }
    }
    constexpr float kInf = std::numeric_limits<float>::infinity();
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    const float x[] = {kInf, 1, -kInf, kInf, kNan, 1, 0, kNan, 3, 4};
    float y[5];
    magnitude(x, y, 5);
    CHECK(y[0] == kInf);
    CHECK(y[1] == kInf);
    CHECK(std::isnan(y[2]));
    CHECK(std::isnan(y[3]));
    CHECK(y[4] == 5);
  });
}

TEST_CASE("a magnitude does not depend on the numbers beside it", "[kernels][complex]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    std::vector<float> x = random_floats(64, -3.0f, 3.0f), alone(32), beside(32);
    magnitude(x.data(), alone.data(), 32);
    for (size_t i = 0; i < 64; i += 8) x[i] = 1e30f;  // its square overflows
    magnitude(x.data(), beside.data(), 32);
    for (size_t i = 0; i < 32; ++i) {
      if (i % 4 != 0) CHECK(beside[i] == alone[i]);
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
