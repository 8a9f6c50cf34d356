#include "kernels/depthwise.h"

#include <catch2/catch.hpp>
#include <limits>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

void check(int64_t taps, int64_t tap_stride, int64_t channels, int64_t multiplier, bool bias) {
  INFO("taps=" << taps << " channels=" << channels << " multiplier=" << multiplier);
  const int64_t outputs = channels * multiplier;
  const int64_t extent = taps > 0 ? (taps - 1) * tap_stride + channels : 0;
  const std::vector<float> x = random_floats(extent, -1.0f, 1.0f, 1);
  const std::vector<float> w = random_floats(taps * outputs, -1.0f, 1.0f, 2);
  const std::vector<float> b = random_floats(outputs, -1.0f, 1.0f, 3);
  const float* start = bias ? b.data() : nullptr;
  std::vector<float> expected(static_cast<size_t>(outputs));
  Guarded<float> y(outputs, channels % 3);
  reference::depthwise(x.data(), tap_stride, w.data(), start, taps, channels, multiplier,
                       expected.data());
  depthwise(x.data(), tap_stride, w.data(), start, taps, channels, multiplier, y.data());
  bool good = true;
  for (int64_t q = 0; q < outputs; ++q) {
    good = good && close(y[q], expected[static_cast<size_t>(q)], 1e-6, 1e-6);
  }
  CHECK(good);
  CHECK(y.intact());
}

TEST_CASE("depthwise agrees with the reference", "[kernels][depthwise]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const int64_t channels : sizes()) {
      for (const int64_t multiplier : {1, 2, 3, 8, 19}) {
        for (const int64_t taps : {0, 1, 3, 7}) {
          check(taps, channels, channels, multiplier, taps != 3);
          check(taps, 2 * channels + 1, channels, multiplier, true);
        }
      }
    }
  });
}

TEST_CASE("depthwise keeps NaN within its channel", "[kernels][depthwise]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    const int64_t channels = 21;
    for (const int64_t multiplier : {1, 3}) {
      std::vector<float> x = random_floats(3 * channels, -1.0f, 1.0f);
      x[static_cast<size_t>(channels + 4)] = std::numeric_limits<float>::quiet_NaN();
      const std::vector<float> w = random_floats(3 * channels * multiplier, -1.0f, 1.0f);
      std::vector<float> y(static_cast<size_t>(channels * multiplier));
      depthwise(x.data(), channels, w.data(), nullptr, 3, channels, multiplier, y.data());
      for (int64_t q = 0; q < channels * multiplier; ++q) {
        CHECK(std::isnan(y[static_cast<size_t>(q)]) == (q / multiplier == 4));
      }
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
