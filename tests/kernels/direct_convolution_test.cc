#include "kernels/direct_convolution.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "kernel_testing.h"
#include "kernels/gemm.h"

namespace sl::kernels::testing {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// A row over inputs of which it uses all but `gap` floats after each position, which are NaN. One
// of several runs is null.
struct Problem {
  Problem(int64_t run_count, int64_t depth, int64_t count, int64_t filters, int64_t gap)
      : weights(random_floats(run_count * depth * filters, -1.0f, 1.0f, 2)),
        bias(random_floats(filters, -1.0f, 1.0f, 3)) {
    const int64_t step = depth + gap;
    for (int64_t i = 0; i < run_count; ++i) {
      inputs.push_back(random_floats(count * step, -1.0f, 1.0f, static_cast<uint32_t>(i)));
      for (int64_t k = 0; k < count * step; ++k) {
        if (k % step >= depth) inputs.back()[static_cast<size_t>(k)] = kNaN;
      }
      inputs.back().resize(static_cast<size_t>(count * step - gap));
    }
    for (const auto& input : inputs)
      runs.push_back(run_count > 1 && runs.size() == 1 ? nullptr : input.data());
    row.runs = runs.data();
    row.run_count = run_count;
    row.depth = depth;
    row.x_step = step;
    row.count = count;
    row.filters = filters;
    row.y_step = filters;
    bias.resize(static_cast<size_t>((filters + panel_width() - 1) / panel_width() * panel_width()));
    row.bias = bias.data();
    if (filters % 2 == 1) row.minimum = -0.25f;
    if (count % 2 == 1) row.ahead = inputs[0].data();
  }

  std::vector<float> expected() {
    std::vector<float> y(static_cast<size_t>(row.count * row.filters));
    row.weights = weights.data();
    row.y = y.data();
    reference::convolve_row(row);
    return y;
  }
  ConvolutionRow broadcast() {
    const int64_t inputs_of_all = row.run_count * row.depth;
    packed.resize(static_cast<size_t>(packed_size(inputs_of_all, row.filters)));
    pack(weights.data(), row.filters, 1, inputs_of_all, row.filters, packed.data());
    row.weights = packed.data();
    return row;
  }
  ConvolutionRow dot() {
    packed.clear();
    for (int64_t f = 0; f < row.filters; ++f) {
      for (int64_t i = 0; i < row.run_count * row.depth; ++i) {
        packed.push_back(weights[static_cast<size_t>(i * row.filters + f)]);
      }
    }
    row.weights = packed.data();
    return row;
  }

  std::vector<float> weights, bias, packed;
  std::vector<std::vector<float>> inputs;
  std::vector<const float*> runs;
  ConvolutionRow row = {};
};

void check(const std::vector<float>& expected, ConvolutionRow row,
           void (*kernel)(const ConvolutionRow&), double tolerance = 1e-5) {
  const int64_t size = row.count * row.filters;
  INFO("runs=" << row.run_count << " depth=" << row.depth << " count=" << row.count
               << " filters=" << row.filters);
  Guarded<float> y(size, row.count % 3);
  row.y = y.data();
  kernel(row);
  bool good = true, same = true;
  for (int64_t i = 0; i < size; ++i) {
    good = good && close(y[i], expected[static_cast<size_t>(i)], tolerance, tolerance);
  }
  CHECK(good);
  CHECK(y.intact());
  // Position by position, the result is the same.
  std::vector<float> alone(static_cast<size_t>(row.filters));
  row.y = alone.data();
  const int64_t count = row.count;
  row.count = 1;
  for (int64_t p = 0; p < count; ++p, row.offset += row.x_step) {
    kernel(row);
    for (int64_t f = 0; f < row.filters; ++f) {
      same = same && same_bits(alone[static_cast<size_t>(f)], y[p * row.filters + f]);
    }
  }
  CHECK(same);
}

TEST_CASE("convolution of a row agrees with the reference", "[kernels][direct_convolution]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const int64_t filters : {1, 2, 5, 8, 9, 16, 17, 33, 48}) {
      for (const int64_t count : {1, 2, 7, 13, 29}) {
        for (const int64_t depth : {1, 3, 40}) {
          Problem p(depth == 3 ? 3 : 2, depth, count, filters, depth == 3 ? 2 : 0);
          check(p.expected(), p.broadcast(), convolve_broadcast);
        }
      }
    }
  });
}

TEST_CASE("a minimum of a convolution keeps NaN", "[kernels][direct_convolution]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const int64_t count : {1, 5, 12}) {
      Problem p(1, 3, count, 33, 0);
      p.inputs[0][static_cast<size_t>(3 * (count / 2))] = kNaN;
      ConvolutionRow row = p.broadcast();
      row.minimum = 0;
      std::vector<float> y(static_cast<size_t>(count * 33));
      row.y = y.data();
      convolve_broadcast(row);
      for (int64_t i = 0; i < count * 33; ++i) {
        const float value = y[static_cast<size_t>(i)];
        CHECK((i / 33 == count / 2 ? std::isnan(value) : value >= 0));
      }
    }
  });
}

TEST_CASE("outputs of a convolution that leave the caches are the same",
          "[kernels][direct_convolution]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const int64_t filters : {16, 48, 64}) {
      for (const int64_t depth : {3, 5000}) {
        Problem p(1, depth, 29, filters, 0);
        ConvolutionRow row = p.broadcast();
        std::vector<float> y(static_cast<size_t>(row.count * filters));
        row.y = y.data();
        convolve_broadcast(row);
        constexpr size_t kLine = 64;
        std::vector<float> room(y.size() + kLine / sizeof(float));
        void* at = room.data();
        size_t space = room.size() * sizeof(float);
        REQUIRE(std::align(kLine, y.size() * sizeof(float), at, space));
        row.y = static_cast<float*>(at);
        row.streams = true;
        convolve_broadcast(row);
        CHECK(std::memcmp(row.y, y.data(), y.size() * sizeof(float)) == 0);
      }
    }
  });
}

TEST_CASE("convolution of a row with many inputs agrees with the reference",
          "[kernels][direct_convolution]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    // More than the weights of a tile that stay in the cache: of one run, and of several.
    for (const int64_t filters : {7, 48, 50}) {
      Problem one(1, 5000, 29, filters, 0);
      check(one.expected(), one.broadcast(), convolve_broadcast, 1e-4);
      Problem several(5, 1100, 29, filters, 2);
      check(several.expected(), several.broadcast(), convolve_broadcast, 1e-4);
    }
  });
}

TEST_CASE("convolution of a row with few filters agrees with the reference",
          "[kernels][direct_convolution]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (int64_t filters = 1; filters <= kMaxDotFilters; ++filters) {
      for (const int64_t count : {1, 3, 8, 9, 21}) {
        for (const int64_t depth : {16, 17, 31, 32, 99}) {
          Problem p(depth == 31 ? 1 : 3, depth, count, filters, depth % 3);
          check(p.expected(), p.dot(), convolve_dot);
        }
      }
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
