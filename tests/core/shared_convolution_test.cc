// Tests convolutions that the threads of a step share: equal to those of one thread, bit for bit,
// and really shared.
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "core/step_team.h"
#include "kernels/dispatch.h"
#include "ops/convolution.h"
#include "ops/direct_convolution.h"
#include "ops/transposed_convolution.h"
#include "support/random.h"

namespace sl {
namespace {

using testing::normal_floats;

// Kernel sizes and frames [time, width, channels], with padding.
struct Sizes {
  int64_t taps, time, width, channels, filters;
  int64_t groups = 1;
  int64_t batch = 1;
};

ops::Kernel kernel_of(const Sizes& s, WeightFormat format) {
  const Shape shape{s.taps, s.taps, s.channels / s.groups, s.filters};
  ops::Kernel kernel = ops::Kernel::of(shape, normal_floats(shape.size(), 1));
  kernel.format = format;
  kernel.panels = [format](const std::string&, const ops::MatrixSizes& sizes,
                           const ops::Panels::Fill& fill) {
    return ops::Panels(format, sizes, fill);
  };
  return kernel;
}

struct Problem {
  Problem(const Sizes& s, WeightFormat format)
      : sizes(s),
        x(normal_floats(s.batch * s.time * s.width * s.channels, 2)),
        convolution({{s.taps, 1, 1, {}}, {s.taps, 1, 1, {}}}, s.groups, kernel_of(s, format),
                    normal_floats(s.filters, 3)),
        alone(compute(Parallel())) {}

  std::vector<float> compute(const Parallel& parallel) const {
    const int64_t outputs = (sizes.time - sizes.taps + 1) * (sizes.width - sizes.taps + 1);
    std::vector<float> y(static_cast<size_t>(sizes.batch * outputs * sizes.filters));
    convolution.convolve({x.data(),
                          sizes.batch,
                          sizes.time * sizes.width * sizes.channels,
                          {sizes.time, sizes.width}},
                         true, parallel, y.data());
    return y;
  }

  Sizes sizes;
  std::vector<float> x;
  ops::Convolution convolution;
  std::vector<float> alone;
};

// Computes until a worker has done a part, and compares each result.
template <typename Fn>
bool becomes_shared(const StepTeam& team, Fn&& compute, const std::vector<float>& alone) {
  const Parallel steps(&team);
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  do {
    const uint64_t before = [&] {
      const StepTeam::Turn turn(team);
      return turn.memory() ? turn.crew().current() : Crew::kNoJob;
    }();
    const bool same = compute(steps) == alone;
    CHECK(same);
    const StepTeam::Turn turn(team);
    if (before != Crew::kNoJob && turn.memory() && turn.crew().current() != before &&
        turn.crew().in_vain() == 0) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

TEST_CASE("threads of a step share a convolution", "[shared_convolution]") {
  kernels::warm_dispatch();
  // A late worker may be reading the weights as long as the team exists.
  std::vector<std::unique_ptr<Problem>> all;
  // By rows; by rows with gaps between frames, with short runs, several groups, several items; by
  // filters.
  for (const Sizes& sizes :
       {Sizes{1, 4, 60, 96, 96}, Sizes{3, 6, 40, 64, 64}, Sizes{3, 6, 60, 8, 200},
        Sizes{3, 6, 40, 64, 96, 2}, Sizes{3, 4, 20, 64, 96, 1, 3}, Sizes{3, 4, 7, 256, 520}}) {
    for (const WeightFormat format : {WeightFormat::kFloat32, WeightFormat::kInt8}) {
      all.push_back(std::make_unique<Problem>(sizes, format));
    }
  }
  const StepTeam team(3, /*on_idle_cpus_only=*/false);
  team.start();
  for (const auto& problem : all) {
    INFO(problem->sizes.channels << " to " << problem->sizes.filters);
    const auto compute = [&](const Parallel& steps) { return problem->compute(steps); };
    CHECK(becomes_shared(team, compute, problem->alone));
  }
}

TEST_CASE("threads of a step share a convolution that reads its inputs in place",
          "[shared_convolution]") {
  kernels::warm_dispatch();
  const Activation relu{kernels::Unary::kRelu};
  // Many filters; few filters; a single row of outputs, by positions and, with large weights, by
  // filters.
  for (const Sizes& sizes :
       {Sizes{3, 6, 60, 64, 80, 1, 2}, Sizes{7, 10, 90, 64, 2}, Sizes{3, 3, 200, 64, 80, 1, 1},
        Sizes{3, 3, 42, 64, 520, 1, 1}, Sizes{3, 3, 42, 256, 520, 2, 1}}) {
    const Shape shape{sizes.taps, sizes.taps, sizes.channels / sizes.groups, sizes.filters};
    const ops::DirectConvolution convolution({{sizes.taps, 1, 1, {}}, {sizes.taps, 1, 1, {}}},
                                             sizes.groups, shape, normal_floats(shape.size(), 1),
                                             normal_floats(sizes.filters, 3));
    const int64_t item = sizes.time * sizes.width * sizes.channels;
    const auto x = normal_floats(sizes.batch * item, 2);
    const auto compute = [&](const Parallel& parallel) {
      const Allocator allocator;
      Workspace workspace(allocator);
      Run run(Mode::kStep, workspace, parallel, Constants());
      std::vector<float> y(static_cast<size_t>(sizes.batch * (sizes.time - sizes.taps + 1) *
                                               (sizes.width - sizes.taps + 1) * sizes.filters));
      convolution.convolve(run, {x.data(), sizes.batch, item, {sizes.time, sizes.width}}, true,
                           &relu, y.data());
      return y;
    };
    const auto alone = compute(Parallel());
    const StepTeam team(2, /*on_idle_cpus_only=*/false);
    team.start();
    CHECK(becomes_shared(team, compute, alone));
  }
}

TEST_CASE("threads of a step share a transposed convolution", "[shared_convolution]") {
  kernels::warm_dispatch();
  const Sizes sizes{4, 6, 40, 64, 64};
  const ops::TransposedWindow window{4, 2, 1, ops::Padding::kCausal, {}};
  const ops::TransposedConvolution convolution({window, window}, 1,
                                               kernel_of(sizes, WeightFormat::kFloat32),
                                               normal_floats(sizes.filters, 3));
  // Frames of which the padding is part.
  const int64_t time = sizes.time - convolution.pads(0).before - convolution.pads(0).after;
  const int64_t width = sizes.width - convolution.pads(1).before - convolution.pads(1).after;
  const auto x = normal_floats(sizes.time * sizes.width * sizes.channels, 2);
  const auto compute = [&](const Parallel& parallel) {
    std::vector<float> y(
        static_cast<size_t>(window.output_length(time) * window.output_length(width) * 64));
    convolution.convolve({x.data(), 1, static_cast<int64_t>(x.size()), {sizes.time, sizes.width}},
                         {time, width}, true, parallel, y.data());
    return y;
  };
  const auto alone = compute(Parallel());
  const StepTeam team(2, /*on_idle_cpus_only=*/false);
  team.start();
  CHECK(becomes_shared(team, compute, alone));
}

TEST_CASE("inputs that are packed before give the same convolution", "[convolution]") {
  // Large weights too, of which some filters are computed for all positions before the next ones,
  // and more taps than are added up at once.
  for (const Sizes& sizes :
       {Sizes{3, 5, 20, 64, 40}, Sizes{3, 4, 7, 256, 512}, Sizes{5, 6, 20, 64, 40}}) {
    const Problem problem(sizes, WeightFormat::kInt8);
    ops::ConvolutionInput in{
        problem.x.data(), 1, sizes.time * sizes.width * sizes.channels, {sizes.time, sizes.width}};
    const int64_t bytes = problem.convolution.packed_input_bytes(in);
    REQUIRE(bytes > 0);
    std::vector<std::byte> memory(static_cast<size_t>(bytes));
    in = problem.convolution.pack_input(in, memory.data());
    REQUIRE(in.packed == memory.data());
    // Only the packed form is read.
    const std::vector<float> other(problem.x.size());
    in.x = other.data();
    std::vector<float> y(problem.alone.size());
    problem.convolution.convolve(in, true, Parallel(), y.data());
    CHECK(y == problem.alone);
  }
}

TEST_CASE("inputs are packed only if windows overlap and products take that", "[convolution]") {
  const ops::ConvolutionInput in{nullptr, 1, 5 * 20 * 64, {5, 20}};
  const auto bytes = [&](const Sizes& sizes, WeightFormat format) {
    return Problem(sizes, format).convolution.packed_input_bytes(in);
  };
  CHECK(bytes({3, 5, 20, 64, 40}, WeightFormat::kInt4) > 0);
  CHECK(bytes({1, 5, 20, 64, 40}, WeightFormat::kInt8) == 0);
  CHECK(bytes({3, 5, 20, 48, 40}, WeightFormat::kInt8) == 0);
  CHECK(bytes({3, 5, 20, 64, 40}, WeightFormat::kFloat32) == 0);
  // The size does not shrink where the input becomes too large.
  const Problem problem({3, 5, 20, 64, 40}, WeightFormat::kInt8);
  ops::ConvolutionInput large{problem.x.data(), 1, int64_t{1} << 20, {5, 20}};
  CHECK(problem.convolution.packed_input_bytes(large) >=
        problem.convolution.packed_input_bytes(in));
  CHECK(problem.convolution.pack_input(large, nullptr).packed == nullptr);
}

TEST_CASE("threads of a whole run share the filters of few rows", "[shared_convolution]") {
  for (const WeightFormat format : {WeightFormat::kFloat32, WeightFormat::kInt8}) {
    for (const int64_t time : {3, 5}) {
      for (const int64_t filters : {40, 200}) {
        INFO("time=" << time << " filters=" << filters);
        const Problem problem({3, time, 20, 128, filters}, format);
        for (const int threads : {2, 3}) {
          CHECK(problem.compute(Parallel(threads, nullptr, nullptr)) == problem.alone);
        }
      }
    }
  }
}

}  // namespace
}  // namespace sl
