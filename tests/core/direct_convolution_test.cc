// Tests direct convolution, which pads and masks its input itself, against the other convolution on
// a padded and masked copy.
#include "ops/direct_convolution.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "ops/elementwise.h"
#include "support/random.h"

namespace sl {
namespace {

using ops::Padding;
using ops::Window;
using testing::normal_floats;

struct Problem {
  std::vector<Window> axes;
  std::vector<int64_t> sizes;                  // time, then the spatial ones
  int64_t groups = 1, depth = 2, filters = 3;  // per group
  bool has_holes = false;
  Activation activation{kernels::Unary::kRelu};

  static constexpr int64_t kBatch = 2;
  int64_t channels() const { return groups * depth; }
  int64_t outputs() const { return groups * filters; }
  Shape kernel_shape() const {
    Shape out;
    for (const Window& axis : axes) out.push_back(axis.kernel);
    out.push_back(depth);
    out.push_back(outputs());
    return out;
  }
  int64_t input_size() const {
    int64_t size = kBatch * channels();
    for (const int64_t s : sizes) size *= s;
    return size;
  }
  int64_t output_size() const {
    int64_t size = kBatch * outputs();
    for (size_t i = 0; i < axes.size(); ++i) size *= axes[i].output_length(sizes[i]);
    return size;
  }
  std::vector<float> kernel() const { return normal_floats(kernel_shape().size(), 2); }
  std::vector<float> bias() const { return normal_floats(outputs(), 3); }
  std::vector<uint8_t> mask() const {
    std::vector<uint8_t> out;
    for (int64_t i = 0; i < kBatch * sizes[0]; ++i) out.push_back(!has_holes || i % 4 != 1);
    return out;
  }
  // With NaN in the holes.
  std::vector<float> x() const {
    std::vector<float> out = normal_floats(input_size(), 1);
    const int64_t frame = input_size() / (kBatch * sizes[0]);
    const auto valid = mask();
    for (size_t i = 0; i < out.size(); ++i) {
      if (!valid[i / static_cast<size_t>(frame)]) out[i] = NAN;
    }
    return out;
  }
};

std::vector<float> expected(const Problem& p) {
  const ops::Convolution convolution(p.axes, p.groups,
                                     ops::Kernel::of(p.kernel_shape(), p.kernel()), p.bias());
  // The padded sizes, with each axis that is missing as one of size 1.
  std::array<int64_t, 3> sizes = {1, 1, 1}, padded = {1, 1, 1}, before = {};
  for (size_t i = 0; i < p.axes.size(); ++i) {
    const ops::Pads pads = p.axes[i].pads();
    sizes[i] = p.sizes[i];
    padded[i] = p.sizes[i] + pads.before + pads.after;
    before[i] = pads.before;
  }
  const auto x = p.x();
  const auto mask = p.mask();
  const int64_t item = padded[0] * padded[1] * padded[2] * p.channels();
  std::vector<float> copy(static_cast<size_t>(Problem::kBatch * item));
  for (int64_t i = 0; i < p.input_size(); ++i) {
    const int64_t c = i % p.channels(), w = i / p.channels() % sizes[2];
    const int64_t h = i / p.channels() / sizes[2] % sizes[1];
    const int64_t step = i / p.channels() / sizes[2] / sizes[1];
    if (!mask[static_cast<size_t>(step)]) continue;
    const int64_t b = step / sizes[0], t = step % sizes[0];
    const int64_t row = ((b * padded[0] + t + before[0]) * padded[1] + h + before[1]) * padded[2];
    copy[static_cast<size_t>((row + w + before[2]) * p.channels() + c)] = x[static_cast<size_t>(i)];
  }
  std::vector<float> y(static_cast<size_t>(p.output_size()), NAN);
  convolution.convolve({copy.data(), Problem::kBatch, item, padded}, true, Parallel(), y.data());
  ops::activate_rows(y.data(), p.output_size() / p.outputs(), p.outputs(), p.activation,
                     DType::kFloat32);
  return y;
}

std::vector<float> computed(const Problem& p, int threads) {
  REQUIRE(ops::DirectConvolution::suits(p.axes, p.groups, p.kernel_shape()));
  const ops::DirectConvolution convolution(p.axes, p.groups, p.kernel_shape(), p.kernel(),
                                           p.bias());
  const Parallel parallel(threads, nullptr, nullptr);
  const Allocator allocator;
  Workspace workspace(allocator);
  Run run(Mode::kLayer, workspace, parallel, Constants());
  const auto x = p.x();
  const auto mask = p.mask();
  ops::ConvolutionInput in{x.data(), Problem::kBatch, p.input_size() / Problem::kBatch};
  for (size_t i = 0; i < p.axes.size(); ++i) {
    in.sizes[i] = p.sizes[i];
    in.pads[i] = p.axes[i].pads();
  }
  if (p.has_holes) in.mask = mask.data();
  REQUIRE(convolution.pads());
  std::vector<float> y(static_cast<size_t>(p.output_size()), NAN);
  convolution.convolve(run, in, true, &p.activation, y.data());
  return y;
}

void check(const Problem& p) {
  const std::vector<float> want = expected(p), one = computed(p, 1);
  CHECK(computed(p, 3) == one);
  double error = 0;
  REQUIRE(one.size() == want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    // The comparison is written so that a NaN fails too.
    if (!(std::abs(one[i] - want[i]) <= error)) error = std::abs(one[i] - want[i]);
  }
  CHECK(error < 1e-4);
}

Window window(int64_t kernel, int64_t stride, int64_t dilation, Padding mode) {
  return {kernel, stride, dilation, {mode, {}}};
}

TEST_CASE("direct convolution pads and masks its input", "[direct_convolution]") {
  for (const bool holes : {false, true}) {
    for (const int64_t groups : {1, 2}) {
      for (const int64_t depth : {2, 33}) {
        for (const int64_t filters : {1, 20}) {
          INFO("groups=" << groups << " depth=" << depth << " filters=" << filters);
          check({{window(3, 1, 1, Padding::kSame), window(3, 1, 1, Padding::kSame)},
                 {40, 30},
                 groups,
                 depth,
                 filters,
                 holes});
          check({{window(3, 2, 3, Padding::kCausalValid), window(5, 3, 2, Padding::kSame)},
                 {41, 17},
                 groups,
                 depth,
                 filters,
                 holes});
          check({{window(2, 3, 1, Padding::kValid), window(3, 1, 1, Padding::kValid)},
                 {20, 9},
                 groups,
                 depth,
                 filters,
                 holes});
        }
      }
    }
  }
}

// Only the ends of long rows are copied, unless the padding reaches further.
TEST_CASE("direct convolution of long rows", "[direct_convolution]") {
  const Window time = window(3, 1, 1, Padding::kSame);
  for (const int64_t filters : {1, 40}) {
    for (const int64_t depth : {1, 6}) {
      for (const Window& width :
           {window(3, 1, 1, Padding::kSame), window(4, 1, 1, Padding::kSame),
            window(3, 1, 9, Padding::kSame), window(5, 2, 3, Padding::kSame),
            window(31, 1, 1, Padding::kSame), window(3, 1, 2, Padding::kCausal),
            window(3, 1, 1, Padding::kValid)}) {
        for (const int64_t size : {47, 48, 61, 150}) {
          INFO("filters=" << filters << " depth=" << depth << " kernel=" << width.kernel
                          << " dilation=" << width.dilation << " size=" << size);
          check({{time, width}, {5, size}, 1, depth, filters, true});
          check(
              {{window(1, 1, 1, Padding::kCausal), time, width}, {2, 4, size}, 1, depth, filters});
        }
      }
    }
  }
}

// A frame of each of the two items, for three threads.
TEST_CASE("threads of a whole run share the rows of few frames", "[direct_convolution]") {
  const Window frame = window(1, 1, 1, Padding::kCausal);
  for (const int64_t filters : {1, 40}) {
    for (const Window& width : {window(16, 1, 1, Padding::kSame), window(5, 2, 3, Padding::kSame),
                                window(16, 1, 1, Padding::kValid)}) {
      INFO("filters=" << filters << " kernel=" << width.kernel);
      check({{frame, width}, {1, 6000}, 1, 6, filters});
      check({{frame, width}, {1, 601}, 2, 10, filters});
    }
  }
}

// With 1 MB of weights or more they do so by filters, unless a function is over all of them.
TEST_CASE("threads of a whole run share large weights of one frame", "[direct_convolution]") {
  const Window frame = window(1, 1, 1, Padding::kCausal), width = window(16, 1, 1, Padding::kSame);
  const Activation softmax{kernels::Unary::kIdentity, 0, RowFunction::kSoftmax};
  for (const Activation& activation :
       {Activation{kernels::Unary::kRelu}, Activation{kernels::Unary::kTanh}, softmax}) {
    INFO("function=" << static_cast<int>(activation.op));
    check({{frame, width}, {1, 41}, 1, 29, 600, false, activation});
    check({{frame, width}, {1, 41}, 2, 29, 600, false, activation});
  }
}

TEST_CASE("direct convolution over time and two spatial dimensions", "[direct_convolution]") {
  for (const bool holes : {false, true}) {
    check({{window(3, 1, 1, Padding::kSame), window(3, 2, 1, Padding::kSame),
            window(3, 1, 2, Padding::kSame)},
           {9, 8, 11},
           1,
           4,
           20,
           holes});
    check({{window(2, 1, 4, Padding::kCausal), window(3, 1, 1, Padding::kValid),
            window(3, 1, 1, Padding::kSame)},
           {12, 5, 7},
           1,
           16,
           2,
           holes});
  }
}

}  // namespace
}  // namespace sl
