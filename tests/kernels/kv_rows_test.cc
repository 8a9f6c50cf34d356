#include "kernels/kv_rows.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

TEST_CASE("rows of a cache keep values as exactly as their format says", "[kernels][kv_rows]") {
  const struct {
    WeightFormat format;
    int64_t bytes;  // of a row of 48
    float error;    // maximum, of values up to 1
  } cases[] = {{WeightFormat::kFloat32, 192, 0.0f},
               {WeightFormat::kBFloat16, 96, 1.0f / 256},
               {WeightFormat::kInt8, 52, 1.0f / 253.9f}};
  for_each_target([&](const std::string& target) {
    const int64_t width = 48, count = 5;
    const std::vector<float> x = random_floats(count * width, -1.0f, 1.0f);
    for (const auto& c : cases) {
      CAPTURE(target, c.bytes);
      REQUIRE(kv_row_bytes(c.format, width) == c.bytes);
      Guarded<int8_t> rows(count * c.bytes, 1);
      Guarded<float> y(count * width, 0);
      store_kv_rows(c.format, x.data(), count, width, reinterpret_cast<std::byte*>(rows.data()));
      restore_kv_rows(c.format, reinterpret_cast<const std::byte*>(rows.data()), count, width,
                      y.data());
      float largest = 0;
      for (int64_t i = 0; i < count * width; ++i)
        largest = std::max(largest, std::abs(y[i] - x[static_cast<size_t>(i)]));
      CHECK(largest <= c.error);
      CHECK((largest > 0) == (c.error > 0));
      CHECK(rows.intact());
      CHECK(y.intact());
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
