// Tests products whose columns the threads of a step share: equal to those of one thread, bit for
// bit, and really shared.
#include "ops/shared_product.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "kernels/dispatch.h"
#include "support/lent_thread.h"
#include "support/random.h"

namespace sl {
namespace {

using testing::normal_floats;

struct Shape {
  int64_t rows, inputs, outputs;
};

struct Nothing {
  void part(int64_t, int64_t, int64_t) const {}
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

// Whether another thread of the team comes to compute a part of a product, which stays the same.
bool is_helped(Products& products, const StepTeam& team) {
  return succeeds_in_time([&] {
    if (!products.share(team)) return false;
    const bool same = products.shared == products.alone;
    CHECK(same);
    const StepTeam::Turn turn(team);
    return turn.memory() && turn.crew().in_vain() == 0;
  });
}

TEST_CASE("a worker computes a part of a product", "[shared_product]") {
  kernels::warm_dispatch();
  Products products({4, 1024, 1024}, true, false);
  const StepTeam team(2, /*on_idle_cpus_only=*/false);
  team.start();
  CHECK(is_helped(products, team));
}

// A thread that is lent to a team until the end of its scope.
class Lent {
 public:
  explicit Lent(const StepTeam& team)
      : thread_([&](StepTeam::KeepGoing keep_going, void* data) {
          accepted_ = team.lend(keep_going, data);
        }) {}
  ~Lent() {
    thread_.stop();
    CHECK(accepted_);
  }

 private:
  bool accepted_ = false;
  testing::LentThread thread_;
};

TEST_CASE("threads that are lent compute parts of products", "[shared_product]") {
  kernels::warm_dispatch();
  for (const int own : {1, 2}) {
    Products products({4, 1024, 1024}, true, false);
    const StepTeam team(own, /*on_idle_cpus_only=*/false, 2);
    CHECK(team.threads() == own + 2);
    team.start();
    for (int repeat = 0; repeat < 3; ++repeat) {
      const Lent first(team), second(team);
      CHECK(is_helped(products, team));
      int32_t calls = 0;
      const auto count = [](void* data) { return ++*static_cast<int32_t*>(data); };
      CHECK(!team.lend(count, &calls));
      CHECK(calls == 0);
    }
  }
}

TEST_CASE("a team without threads of its own has jobs for lent ones only", "[shared_product]") {
  const StepTeam team(1, /*on_idle_cpus_only=*/true, 1);
  CHECK(!StepTeam::Turn(team).memory());
  team.start();
  CHECK(!StepTeam::Turn(team).memory());
  CHECK(!StepTeam::Turn(team, /*is_long=*/true).memory());
  {
    const Lent lent(team);
    CHECK(StepTeam::Turn(team).memory());
  }
  CHECK(!StepTeam::Turn(team).memory());
}

TEST_CASE("a thread that is lent anew gets jobs at once", "[shared_product]") {
  const StepTeam team(1, /*on_idle_cpus_only=*/true, 2);
  team.start();
  // Lent where it never looks for jobs, so that they are in vain.
  struct Idle {
    std::atomic<bool> is_there{false}, stops{false};
  } idle;
  const auto wait = [](void* data) {
    auto* const state = static_cast<Idle*>(data);
    state->is_there = true;
    while (!state->stops) std::this_thread::yield();
    return int32_t{0};
  };
  bool accepted = false;
  std::thread thread([&] { accepted = team.lend(wait, &idle); });
  while (!idle.is_there) std::this_thread::yield();
  int offered = 0;
  for (int i = 0; i < 100; ++i) {
    const StepTeam::Turn turn(team);
    if (!turn.memory()) continue;
    ++offered;
    turn.crew().run(
        Nothing(), 2, [](int64_t) {}, [](int64_t) {});
  }
  CHECK(offered < 20);
  CHECK(offered > 6);
  {
    const Lent lent(team);
    CHECK(StepTeam::Turn(team).memory());
  }
  idle.stops = true;
  thread.join();
  CHECK(accepted);
}

TEST_CASE("small products stay with their thread", "[shared_product]") {
  kernels::warm_dispatch();
  const StepTeam team(2);
  const Parallel steps(&team), one;
  const Allocator allocator;
  Workspace workspace(allocator);
  const Run run(Mode::kStep, workspace, steps, Constants());
  CHECK(ops::may_share(run, Products({1, 256, 256}, true, false).linear));
  CHECK(!ops::may_share(run, Products({1, 256, 128}, true, false).linear));
  CHECK(!ops::may_share(Run(Mode::kStep, workspace, one, Constants()),
                        Products({1, 256, 256}, true, false).linear));
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
