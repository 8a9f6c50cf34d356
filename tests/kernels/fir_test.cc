#include "kernels/fir.h"

#include <catch2/catch.hpp>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

void check(int64_t taps, int64_t tap_stride, int64_t n) {
  INFO("taps=" << taps << " tap_stride=" << tap_stride << " n=" << n);
  const std::vector<float> x = random_floats((taps - 1) * tap_stride + n, -1.0f, 1.0f, 1);
  const std::vector<float> w = random_floats(taps, -1.0f, 1.0f, 2);
  std::vector<float> expected(static_cast<size_t>(n));
  Guarded<float> y(n, n % 3);
  reference::fir(x.data(), tap_stride, w.data(), taps, n, expected.data());
  fir(x.data(), tap_stride, w.data(), taps, n, y.data());
  bool good = true;
  for (int64_t i = 0; i < n; ++i) {
    good = good && close(y[i], expected[static_cast<size_t>(i)], 2e-6, 2e-6);
  }
  CHECK(good);
  CHECK(y.intact());
}

TEST_CASE("fir agrees with the reference", "[kernels][fir]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const int64_t n : sizes()) {
      for (const int64_t taps : {1, 3, 16}) {
        for (const int64_t tap_stride : {1, 2, 37}) check(taps, tap_stride, n);
      }
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
