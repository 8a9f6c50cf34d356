#include "kernels/int8_rows.h"

#include <catch2/catch.hpp>
#include <limits>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

TEST_CASE("rows of int8 keep values within half a step of their own scale",
          "[kernels][int8_rows]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const int64_t width : {16, 32, 48, 80}) {
      const int64_t count = 5, stride = width + 3;
      std::vector<float> x = random_floats(count * stride, -1.0f, 1.0f);
      for (int64_t i = 0; i < width; ++i) x[static_cast<size_t>(2 * stride + i)] *= 1000.0f;
      Guarded<int8_t> rows(count * int8_row_bytes(width), 1);
      Guarded<float> y(count * width, 0);
      f32_to_int8_rows(x.data(), stride, count, width, rows.data());
      int8_rows_to_f32(rows.data(), count, width, y.data());
      for (int64_t row = 0; row < count; ++row) {
        const float* from = x.data() + row * stride;
        float largest = 0;
        for (int64_t i = 0; i < width; ++i) largest = std::max(largest, std::abs(from[i]));
        bool good = true;
        for (int64_t i = 0; i < width; ++i) {
          good = good && std::abs(y[row * width + i] - from[i]) <= largest / 253.9f;
        }
        CHECK(good);
      }
      CHECK(rows.intact());
      CHECK(y.intact());
    }
  });
}

TEST_CASE("rows of int8 hold what is not finite, and tiny and huge values",
          "[kernels][int8_rows]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    const int64_t width = 32;
    const float infinity = std::numeric_limits<float>::infinity();
    for (const float value : {0.0f, 1e-45f, 1e-37f, 1e-30f, 3e38f, infinity, -infinity,
                              std::numeric_limits<float>::quiet_NaN()}) {
      INFO(value);
      std::vector<float> x(static_cast<size_t>(width), 0.0f), y = x;
      x[7] = value;
      std::vector<int8_t> row(static_cast<size_t>(int8_row_bytes(width)));
      f32_to_int8_rows(x.data(), width, 1, width, row.data());
      int8_rows_to_f32(row.data(), 1, width, y.data());
      if (std::isfinite(value)) {
        CHECK(std::abs(y[7] - value) <= std::abs(value) * 1e-6f + 1e-36f);
        CHECK(y[6] == 0.0f);
      } else {
        CHECK(std::all_of(y.begin(), y.end(), [](float v) { return std::isnan(v); }));
      }
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
