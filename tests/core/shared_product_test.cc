// Tests products whose columns the threads of a step share: equal to those of one thread, bit for
// bit, and really shared.
#include "ops/shared_product.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "kernels/dispatch.h"
#include "support/random.h"

namespace sl {
namespace {

using testing::normal_floats;

struct Shape {
  int64_t rows, inputs, outputs;
};

// The product of a step by the team, and alone. The rows of x overlap, those of y lie apart.
struct Products {
  Products(const Shape& s, bool with_bias, bool accumulates)
      : shape(s),
        x(normal_floats(s.rows * s.inputs, 2)),
        bias(normal_floats(s.outputs, 3)),
        start(normal_floats(s.rows * y_stride(), 4)),
        alone(start),
        linear(normal_floats(s.inputs * s.outputs, 1).data(), s.outputs, 1, s.inputs, s.outputs),
        added(with_bias ? bias.data() : nullptr),
        accumulate(accumulates) {
    const Allocator allocator;
    Workspace workspace(allocator);
    const Parallel one;
    linear.apply(Run(Mode::kStep, workspace, one, Constants()), x.data(), s.inputs - 1, s.rows,
                 added, accumulate, alone.data(), y_stride());
  }
  bool share(const StepTeam& team) {
    shared = start;
    return ops::share_product(team, linear, x.data(), shape.inputs - 1, shape.rows, added,
                              accumulate, shared.data(), y_stride());
  }
  int64_t y_stride() const { return shape.outputs + 3; }

  Shape shape;
  std::vector<float> x, bias, start, alone, shared;
  ops::Linear linear;
  const float* added;
  bool accumulate;
};

// Repeats until the team has been there.
template <typename Fn>
bool succeeds_in_time(Fn&& fn) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (!fn()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return true;
}

TEST_CASE("a team computes products with large matrices as one thread does", "[shared_product]") {
  kernels::warm_dispatch();
  // A late worker may be reading the weights as long as the team exists.
  std::vector<std::unique_ptr<Products>> all;
  // The last two have a ragged right edge, and too many rows for the memory of one job.
  for (const Shape& shape : {Shape{1, 1024, 1024}, Shape{5, 700, 1031}, Shape{500, 512, 600}}) {
    for (const bool with_bias : {false, true}) {
      for (const bool accumulate : {false, true})
        all.push_back(std::make_unique<Products>(shape, with_bias, accumulate));
    }
  }
  const StepTeam team(3, /*on_idle_cpus_only=*/false);
  team.start();
  for (const auto& products : all) {
    INFO(products->shape.inputs << " to " << products->shape.outputs);
    CHECK(succeeds_in_time([&] { return products->share(team); }));
    const bool same = products->shared == products->alone;
    CHECK(same);
  }
}

TEST_CASE("a worker computes a part of a product", "[shared_product]") {
  kernels::warm_dispatch();
  Products products({4, 1024, 1024}, true, false);
  const StepTeam team(2, /*on_idle_cpus_only=*/false);
  team.start();
  CHECK(succeeds_in_time([&] {
    if (!products.share(team)) return false;
    const bool same = products.shared == products.alone;
    CHECK(same);
    const StepTeam::Turn turn(team);
    return turn.memory() && turn.crew().in_vain() == 0;
  }));
}

TEST_CASE("small products stay with their thread", "[shared_product]") {
  kernels::warm_dispatch();
  const StepTeam team(2);
  const Parallel steps(&team), one;
  const Allocator allocator;
  Workspace workspace(allocator);
  const Run run(Mode::kStep, workspace, steps, Constants());
  CHECK(ops::may_share(run, Products({1, 1024, 256}, true, false).linear));
  CHECK(!ops::may_share(run, Products({1, 256, 512}, true, false).linear));
  CHECK(!ops::may_share(Run(Mode::kStep, workspace, one, Constants()),
                        Products({1, 1024, 256}, true, false).linear));
}

TEST_CASE("a team has one turn at a time, and none before it is started", "[shared_product]") {
  const StepTeam team(2, /*on_idle_cpus_only=*/false);
  CHECK(!StepTeam::Turn(team).memory());
  team.start();
  CHECK(succeeds_in_time([&] {
    const StepTeam::Turn turn(team);
    if (!turn.memory()) return false;
    CHECK(!StepTeam::Turn(team).memory());
    return true;
  }));
}

}  // namespace
}  // namespace sl
