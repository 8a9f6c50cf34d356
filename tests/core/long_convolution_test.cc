#include "ops/long_convolution.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/dispatch.h"
#include "support/random.h"

namespace sl::ops {
namespace {

using testing::normal_floats;

struct Sizes {
  int64_t batch, time, length, channels;
};

// The largest error, relative to the magnitude of the sums.
double worst_error(const Sizes& s, int threads) {
  const Parallel parallel(threads, nullptr, nullptr);
  const Allocator allocator;
  Workspace workspace(allocator);
  Run run(Mode::kLayer, workspace, parallel, Constants());
  const std::vector<float> kernel = normal_floats(s.length * s.channels, 1);
  const LongConvolution convolution(run, kernel.data(), s.length, s.channels);
  const Sequence x = run.output({DType::kFloat32, {s.channels}}, s.batch, s.time);
  const Sequence y = run.output(x.spec(), s.batch, s.time);
  const std::vector<float> values = normal_floats(x.size(), 2);
  std::copy(values.begin(), values.end(), x.floats());
  convolution.apply(run, x, y);
  double worst = 0;
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t t = 0; t < s.time; t += t % 64 == 63 ? 1 : 7) {
      for (int64_t c = 0; c < s.channels; ++c) {
        double want = 0;
        for (int64_t k = 0; k <= t; ++k) {
          want += static_cast<double>(kernel[static_cast<size_t>(k * s.channels + c)]) *
                  x.floats()[(b * s.time + t - k) * s.channels + c];
        }
        const float got = y.floats()[(b * s.time + t) * s.channels + c];
        worst = std::max(worst, std::abs(got - want));
      }
    }
  }
  return worst / std::sqrt(static_cast<double>(s.time));
}

TEST_CASE("long convolutions agree with direct sums", "[long_convolution]") {
  kernels::warm_dispatch();
  for (const auto& s : {Sizes{1, 1, 1, 1}, Sizes{2, 5, 100, 3}, Sizes{1, 1024, 1024, 16},
                        Sizes{2, 1025, 3000, 18}, Sizes{1, 3000, 3000, 2}}) {
    INFO("time=" << s.time << " length=" << s.length << " channels=" << s.channels);
    for (const int threads : {1, 2}) CHECK(worst_error(s, threads) < 2e-6);
  }
}

}  // namespace
}  // namespace sl::ops
