// Tests steps that are divided into parts: each part runs once, in order, on any thread.
#include "core/lockstep.h"

#include <catch2/catch.hpp>
#include <vector>

namespace sl {
namespace {

constexpr int64_t kSteps = 500, kParts = 3;

// Counts parts that did not run exactly once, or ran before the step that they depend on.
int64_t mistakes(const Parallel& parallel) {
  std::vector<std::atomic<int64_t>> done(kSteps * kParts);
  std::atomic<int64_t> early{0};
  const auto at = [&](int64_t step, int64_t part) -> std::atomic<int64_t>& {
    return done[static_cast<size_t>(step * kParts + part)];
  };
  in_lockstep(parallel, kSteps, kParts, [&](int64_t step, int64_t part) {
    for (int64_t i = 0; step > 0 && i < kParts; ++i) early += at(step - 1, i) != 1;
    ++at(step, part);
  });
  int64_t wrong = early;
  for (const auto& times : done) wrong += times != 1;
  return wrong;
}

TEST_CASE("a part waits for all parts of the step before", "[lockstep]") {
  for (const int threads : {1, 2, 3, 5}) {
    INFO(threads);
    const Parallel parallel(threads, nullptr, nullptr);
    CHECK(mistakes(parallel) == 0);
  }
}

void one_after_the_other(void*, int64_t count, void (*task)(void*, int64_t), void* context) {
  for (int64_t i = count; i-- > 0;) task(context, i);
}

TEST_CASE("a parallel_for that runs nothing at once does not hang", "[lockstep]") {
  CHECK(mistakes(Parallel(3, one_after_the_other, nullptr)) == 0);
}

}  // namespace
}  // namespace sl
