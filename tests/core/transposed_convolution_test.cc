// Tests transposed convolution against its definition: every tap of every input is added to its
// output.
#include "ops/transposed_convolution.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "support/random.h"

namespace sl {
namespace {

using ops::Padding;
using ops::TransposedWindow;
using testing::normal_floats;

// A problem with time and one spatial dimension, and two batch items.
struct Problem {
  TransposedWindow time, space;
  int64_t groups = 1, depth = 2, filters = 3;  // per group

  static constexpr int64_t kBatch = 2, kTime = 5, kWidth = 4;
  int64_t channels() const { return groups * depth; }
  int64_t outputs() const { return groups * filters; }
  std::vector<float> x() const { return normal_floats(kBatch * kTime * kWidth * channels(), 1); }
  std::vector<float> kernel() const {
    return normal_floats(time.kernel * space.kernel * depth * outputs(), 2);
  }
  std::vector<float> bias() const { return normal_floats(outputs(), 3); }
};

std::vector<double> expected(const Problem& p) {
  const int64_t height = p.time.output_length(Problem::kTime);
  const int64_t width = p.space.output_length(Problem::kWidth);
  const auto x = p.x(), kernel = p.kernel(), bias = p.bias();
  const int64_t outputs = p.outputs();
  std::vector<double> y(static_cast<size_t>(Problem::kBatch * height * width * outputs));
  for (size_t i = 0; i < y.size(); ++i) y[i] = bias[i % static_cast<size_t>(outputs)];
  const auto add = [&](int64_t b, int64_t t, int64_t w, int64_t i, int64_t j) {
    const int64_t row = t * p.time.stride + i * p.time.dilation - p.time.crop();
    const int64_t column = w * p.space.stride + j * p.space.dilation - p.space.crop();
    if (row < 0 || row >= height || column < 0 || column >= width) return;
    const int64_t tap = (p.time.kernel - 1 - i) * p.space.kernel + p.space.kernel - 1 - j;
    for (int64_t f = 0; f < outputs; ++f) {
      for (int64_t c = 0; c < p.depth; ++c) {
        const int64_t channel = f / p.filters * p.depth + c;
        const int64_t from = ((b * Problem::kTime + t) * Problem::kWidth + w) * p.channels();
        y[static_cast<size_t>(((b * height + row) * width + column) * outputs + f)] +=
            double{x[static_cast<size_t>(from + channel)]} *
            kernel[static_cast<size_t>((tap * p.depth + c) * outputs + f)];
      }
    }
  };
  for (int64_t b = 0; b < Problem::kBatch; ++b) {
    for (int64_t t = 0; t < Problem::kTime; ++t) {
      for (int64_t w = 0; w < Problem::kWidth; ++w) {
        for (int64_t i = 0; i < p.time.kernel; ++i) {
          for (int64_t j = 0; j < p.space.kernel; ++j) add(b, t, w, i, j);
        }
      }
    }
  }
  return y;
}

std::vector<float> computed(const Problem& p, int threads) {
  const ops::TransposedConvolution convolution(
      {p.time, p.space}, p.groups,
      ops::Kernel::of({p.time.kernel, p.space.kernel, p.depth, p.outputs()}, p.kernel()), p.bias());
  const ops::Pads time = convolution.pads(0), space = convolution.pads(1);
  const int64_t height = time.before + Problem::kTime + time.after;
  const int64_t width = space.before + Problem::kWidth + space.after;
  const auto row = static_cast<size_t>(Problem::kWidth * p.channels());
  const auto x = p.x();
  std::vector<float> padded(static_cast<size_t>(Problem::kBatch * height * width * p.channels()));
  for (int64_t i = 0; i < Problem::kBatch * Problem::kTime; ++i) {
    const int64_t frame = i / Problem::kTime * height + time.before + i % Problem::kTime;
    std::copy_n(x.data() + static_cast<size_t>(i) * row, row,
                padded.data() + (frame * width + space.before) * p.channels());
  }
  ops::ConvolutionInput in{
      padded.data(), Problem::kBatch, height * width * p.channels(), {height, width}};
  std::vector<float> y(static_cast<size_t>(Problem::kBatch * p.time.output_length(Problem::kTime) *
                                           p.space.output_length(Problem::kWidth) * p.outputs()),
                       NAN);
  const Parallel parallel(threads, nullptr, nullptr);
  convolution.convolve(in, {Problem::kTime, Problem::kWidth}, true, parallel, y.data());
  return y;
}

void check(const Problem& p) {
  INFO("time " << p.time.kernel << "/" << p.time.stride << "/" << p.time.dilation << " space "
               << p.space.kernel << "/" << p.space.stride << "/" << p.space.dilation << " groups "
               << p.groups);
  const auto want = expected(p);
  const auto got = computed(p, p.groups == 1 ? 1 : 2);
  REQUIRE(got.size() == want.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - want[i]);
    if (!(error <= worst)) worst = error;  // also keeps NaN
  }
  CHECK(worst < 1e-5);
}

TEST_CASE("transposed convolution agrees with its definition", "[core][convolution]") {
  for (const Padding mode : {Padding::kValid, Padding::kSame, Padding::kCausal}) {
    for (const int64_t kernel : {1, 2, 3, 5}) {
      for (const int64_t stride : {1, 2, 3}) {
        for (const int64_t dilation : {1, 2, 3}) {
          const TransposedWindow window{kernel, stride, dilation, mode};
          const TransposedWindow other{4 - stride, kernel, dilation, Padding::kSame};
          check({window, other});
          check({other, window});
          check({window, window, 3, 1, 2});
        }
      }
    }
  }
}

TEST_CASE("semicausal_full crops both ends", "[core][convolution]") {
  for (const int64_t kernel : {3, 4, 6}) {
    const TransposedWindow window{kernel, 2, 1, Padding::kSemicausalFull};
    check({window, {3, 2, 1, Padding::kSemicausalFull}});
  }
}

TEST_CASE("an axis without input has no output", "[core][convolution]") {
  const TransposedWindow window{5, 2, 1, Padding::kValid};
  CHECK(window.output_length(0) == 0);
  CHECK(window.output_length(1) == 5);
}

}  // namespace
}  // namespace sl
