// Tests work that a caller shares with threads: each part is computed once, in order, and a thread
// that stops in the middle of one holds nobody up.
#include "core/crew.h"

#include <catch2/catch.hpp>
#include <limits>
#include <optional>
#include <thread>
#include <vector>

#include "core/denormals.h"

namespace sl {
namespace {

// Threads that serve a crew until the end of the test.
class Servers {
 public:
  Servers(Crew& crew, int count) {
    for (int i = 1; i <= count; ++i) {
      threads_.emplace_back([&crew, this, i] {
        uint64_t seen = 0;
        while (!stop_) {
          if (!crew.serve(i, &seen)) std::this_thread::yield();
        }
      });
    }
  }
  ~Servers() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

// Yields until the condition holds.
template <typename Fn>
void wait_until(Fn&& fn) {
  while (!fn()) std::this_thread::yield();
}

// Squares numbers in the crew's memory: the inputs, and behind them the outputs.
struct Squares {
  const int64_t* in;
  int64_t* out;

  void part(int64_t, int64_t part, int64_t) const { out[part] = in[part] * in[part]; }
};

std::vector<int64_t> squares(Crew& crew, int64_t parts, int64_t first) {
  std::vector<int64_t> got(static_cast<size_t>(parts), -1);
  auto* memory = reinterpret_cast<int64_t*>(crew.memory(1024));
  if (!memory) return {};
  for (int64_t i = 0; i < parts; ++i) memory[i] = first + i;
  const Squares work{memory, memory + parts};
  crew.run(
      work, parts, [&](int64_t i) { got[static_cast<size_t>(i)] = (first + i) * (first + i); },
      [&](int64_t i) { got[static_cast<size_t>(i)] = work.out[i]; });
  return got;
}

std::vector<int64_t> squares_alone(int64_t parts, int64_t first) {
  std::vector<int64_t> out;
  for (int64_t i = first; i < first + parts; ++i) out.push_back(i * i);
  return out;
}

TEST_CASE("a caller and workers compute all parts of one job after the other", "[crew]") {
  for (const int workers : {0, 1, 3}) {
    INFO(workers);
    Crew crew(workers);
    crew.reserve(1024);
    const Servers servers(crew, workers);
    for (int64_t first = 0; first < 2000; ++first) {
      const int64_t parts = 1 + first % Crew::kMaxParts;
      const std::vector<int64_t> got = squares(crew, parts, first);
      if (!got.empty()) REQUIRE(got == squares_alone(parts, first));
    }
  }
}

// A worker stops in the first part that it takes until it is released; the caller waits with its
// own until the worker has begun.
struct Stopping {
  std::atomic<int>* begun;
  std::atomic<bool>* released;
  int64_t* out;

  void part(int64_t, int64_t part, int64_t) const {
    ++*begun;
    wait_until([&] { return released->load(); });
    out[part] = -1;
  }
};

TEST_CASE("a caller takes over the part of a worker that stops", "[crew]") {
  Crew crew(2);
  crew.reserve(1024);
  std::atomic<int> begun{0};
  std::atomic<bool> released{false};
  std::vector<int64_t> got(2, 0);
  {
    const Servers servers(crew, 1);  // the second worker never comes
    auto* memory = reinterpret_cast<int64_t*>(crew.memory(1024));
    REQUIRE(memory);
    crew.run(
        Stopping{&begun, &released, memory}, 2,
        [&](int64_t part) {
          wait_until([&] { return begun > 0; });
          got[static_cast<size_t>(part)] = 7;
        },
        [&](int64_t) { FAIL("no worker has finished"); });
    CHECK(got == std::vector<int64_t>{7, 7});
    CHECK(crew.in_vain() == 1);
    // The memory in which the worker still is at work is not used again.
    for (int64_t first = 0; first < 10; ++first) {
      CHECK(reinterpret_cast<int64_t*>(crew.memory(1024)) != memory);
      CHECK(squares(crew, 5, first) == squares_alone(5, first));
    }
    released = true;
  }
  CHECK(begun == 1);
}

// A part of a worker, which the caller waits for within its own.
struct Awaited {
  std::atomic<int>* done;

  void part(int64_t, int64_t, int64_t) const { ++*done; }
};

TEST_CASE("a crew counts jobs that are in vain", "[crew]") {
  Crew crew(1);
  crew.reserve(1024);
  for (int64_t jobs = 1; jobs <= 3; ++jobs) {
    squares(crew, 4, 0);  // nobody serves
    CHECK(crew.in_vain() == jobs);
  }
  const Servers servers(crew, 1);
  // On a busy machine the worker may lose its CPU at the end of its part.
  for (int tries = 0; tries < 1000 && crew.in_vain() > 0; ++tries) {
    std::atomic<int> done{0};
    if (!crew.memory(64)) continue;
    crew.run(
        Awaited{&done}, 2, [&](int64_t) { wait_until([&] { return done > 0; }); }, [](int64_t) {});
    wait_until([&] { return crew.memory(64) != nullptr; });
  }
  CHECK(crew.in_vain() == 0);
}

// Runs a job in which a worker of the crew stays until `released`.
void make_worker_late(Crew& crew, std::atomic<int>& begun, std::atomic<bool>& released) {
  auto* memory = reinterpret_cast<int64_t*>(crew.memory(64));
  REQUIRE(memory);
  crew.run(
      Stopping{&begun, &released, memory}, 2,
      [&](int64_t) { wait_until([&] { return begun > 0; }); }, [](int64_t) {});
}

TEST_CASE("a caller without any worker that is in time gets no memory", "[crew]") {
  Crew crew(1);
  crew.reserve(64);
  std::atomic<int> begun{0};
  std::atomic<bool> released{false};
  const Servers servers(crew, 1);
  make_worker_late(crew, begun, released);
  CHECK(crew.memory(64) == nullptr);
  released = true;
  wait_until([&] { return crew.memory(64) != nullptr; });
  CHECK(crew.memory(65) == nullptr);
  CHECK(crew.grown_memory(65) != nullptr);
}

TEST_CASE("guests have numbers behind those of the workers, until they leave", "[crew]") {
  Crew crew(2, 2);
  CHECK(crew.threads() == 5);
  CHECK(crew.join() == 3);
  CHECK(crew.join() == 4);
  CHECK(crew.join() == 0);
  crew.leave(3);
  CHECK(crew.join() == 3);
  CHECK(crew.join() == 0);
  Crew largest(0, Crew::kMaxGuests);
  for (int i = 1; i <= Crew::kMaxGuests; ++i) CHECK(largest.join() == i);
  CHECK(largest.join() == 0);
  Crew without(1);
  CHECK(without.join() == 0);
}

TEST_CASE("guests that are away count neither as late nor as in time", "[crew]") {
  Crew crew(0, 3);
  crew.reserve(1024);
  std::atomic<int> begun{0};
  std::atomic<bool> released{false};
  REQUIRE(crew.join() == 1);
  CHECK(squares(crew, 5, 3) == squares_alone(5, 3));  // before the guest serves
  const Servers servers(crew, 1);
  make_worker_late(crew, begun, released);
  CHECK(crew.memory(64) == nullptr);  // the only one that is there is late
  REQUIRE(crew.join() == 2);
  CHECK(crew.memory(64) != nullptr);
  crew.leave(2);
  CHECK(crew.memory(64) == nullptr);
  released = true;
  wait_until([&] { return crew.memory(64) != nullptr; });
}

// Each part of a step adds up the whole step before.
struct Sums {
  static constexpr int64_t kParts = 3;
  int64_t* values;                // [steps + 1, kParts]
  std::atomic<int64_t>* stop_at;  // the step at which a worker stops
  std::atomic<bool>* released;

  void part(int64_t step, int64_t part, int64_t thread) const {
    if (thread > 0 && step == *stop_at) wait_until([&] { return released->load(); });
    const int64_t* from = values + step * kParts;
    values[(step + 1) * kParts + part] = (from[0] + from[1] + from[2] + part) % 1000;
  }
};

std::vector<int64_t> sums_alone(int64_t steps) {
  std::vector<int64_t> values(static_cast<size_t>((steps + 1) * Sums::kParts), 1);
  std::atomic<int64_t> never{-1};
  const Sums sums{values.data(), &never, nullptr};
  for (int64_t i = 0; i < steps * Sums::kParts; ++i)
    sums.part(i / Sums::kParts, i % Sums::kParts, 0);
  return values;
}

TEST_CASE("each step of a job needs all parts of the step before", "[crew]") {
  constexpr int64_t kSteps = 3000;
  const std::vector<int64_t> want = sums_alone(kSteps);
  for (const int workers : {0, 1, 2, 4}) {
    INFO(workers);
    Crew crew(workers);
    const Servers servers(crew, workers);
    std::atomic<int64_t> never{-1};
    std::vector<int64_t> got(want.size(), 1);
    int64_t done = 0;
    while (done < kSteps) {
      auto* memory = reinterpret_cast<int64_t*>(crew.grown_memory(want.size() * sizeof(int64_t)));
      if (!memory) continue;
      std::copy_n(got.data() + done * Sums::kParts, Sums::kParts, memory);
      const int64_t steps =
          crew.run_steps(Sums{memory, &never, nullptr}, kSteps - done, Sums::kParts);
      std::copy_n(memory, (steps + 1) * Sums::kParts, got.data() + done * Sums::kParts);
      done += steps;
    }
    CHECK(got == want);
  }
}

TEST_CASE("a job of several steps ends where a worker stops", "[crew]") {
  const std::vector<int64_t> want = sums_alone(100);
  Crew crew(1);
  std::atomic<int64_t> stop_at{50};
  std::atomic<bool> released{false};
  const Servers servers(crew, 1);
  bool stopped = false;
  // The worker may come too late for that step.
  for (int run = 0; run < 10000 && !stopped; ++run) {
    auto* memory = reinterpret_cast<int64_t*>(crew.grown_memory(want.size() * sizeof(int64_t)));
    if (!memory) continue;
    std::fill_n(memory, Sums::kParts, 1);
    const int64_t steps = crew.run_steps(Sums{memory, &stop_at, &released}, 100, Sums::kParts);
    stopped = steps < 100;
    CHECK(steps >= 0);
    for (int64_t i = 0; i < (steps + 1) * Sums::kParts; ++i)
      REQUIRE(memory[i] == want[static_cast<size_t>(i)]);
    if (stopped) CHECK(steps == 50);
  }
  released = true;
  CHECK(stopped);
}

// Halves the smallest normalized float, which gives zero where denormals are flushed.
struct Halving {
  float* out;

  void part(int64_t, int64_t part, int64_t) const {
    volatile float smallest = std::numeric_limits<float>::min();
    out[part] = smallest * 0.5f;
  }
};

TEST_CASE("workers have the float modes of the caller", "[crew]") {
  Crew crew(1);
  crew.reserve(64);
  const Servers servers(crew, 1);
  for (const bool flush : {true, false, true}) {
    std::optional<FlushDenormals> flushing;
    if (flush) flushing.emplace();
    int accepted = 0;
    while (accepted < 5) {
      auto* memory = reinterpret_cast<float*>(crew.memory(64));
      if (!memory) continue;
      std::vector<float> got;
      crew.run(
          Halving{memory}, 2, [](int64_t) { std::this_thread::yield(); },
          [&](int64_t part) { got.push_back(memory[part]); });
      for (const float value : got) REQUIRE((value == 0) == flush);
      accepted += static_cast<int>(got.size());
    }
  }
}

}  // namespace
}  // namespace sl
