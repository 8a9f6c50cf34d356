#include "core/receptive_field.h"

#include <array>
#include <catch2/catch.hpp>

#include "core/status.h"

namespace sl {
namespace {

ReceptiveFields always(int64_t start, int64_t end) { return {StepRange{start, end}}; }

TEST_CASE("merging gives the smallest range that contains both", "[receptive field]") {
  const ReceptiveField none, a = StepRange{-3, 0}, b = StepRange{1, 2};
  CHECK(merge(none, none) == none);
  CHECK(merge(a, none) == a);
  CHECK(merge(none, b) == b);
  CHECK(merge(a, b) == StepRange{-3, 2});
  CHECK(merge_all({a, none, b}) == StepRange{-3, 2});
  CHECK(merge_all({}) == none);
}

TEST_CASE("a field of an output step, in absolute input steps", "[receptive field]") {
  // Upsampling by two: both outputs of an input step see that step.
  const ReceptiveFields up = {StepRange{0, 0}, StepRange{0, 0}};
  CHECK(receptive_field_at(up, Ratio(2), 0) == StepRange{0, 0});
  CHECK(receptive_field_at(up, Ratio(2), 1) == StepRange{0, 0});
  CHECK(receptive_field_at(up, Ratio(2), 5) == StepRange{2, 2});
  CHECK(receptive_field_at(up, Ratio(2), -1) == StepRange{-1, -1});
  // Downsampling by three: output step 2 sees the input steps 4 to 6.
  CHECK(receptive_field_at(always(-2, 0), Ratio(1, 3), 2) == StepRange{4, 6});
  // An empty field, and an unbounded one.
  CHECK(receptive_field_at({ReceptiveField{}}, Ratio(1), 7) == ReceptiveField{});
  CHECK(receptive_field_at(always(-kInfinite, 0), Ratio(1), 7) == StepRange{-kInfinite, 7});
}

TEST_CASE("fields of causal convolutions in a row add up", "[receptive field]") {
  const ReceptiveFields both = precede(always(-2, 0), Ratio(1), always(-4, 0), Ratio(1));
  CHECK(both == always(-6, 0));
}

TEST_CASE("behind a stride, a step covers several input steps", "[receptive field]") {
  // A causal kernel of 3 after a causal kernel of 2 with stride 2.
  const ReceptiveFields both = precede(always(-2, 0), Ratio(1), always(-1, 0), Ratio(1, 2));
  CHECK(both == always(-5, 0));
}

TEST_CASE("behind an upsampling, several steps share an input step", "[receptive field]") {
  const ReceptiveFields up = {StepRange{0, 0}, StepRange{0, 0}};
  const ReceptiveFields two = precede({StepRange{-1, 0}, StepRange{-1, 0}}, Ratio(1), up, Ratio(2));
  REQUIRE(two.size() == 2);
  CHECK(two[0] == StepRange{-1, 0});
  CHECK(two[1] == StepRange{0, 0});
}

TEST_CASE("infinities pass through", "[receptive field]") {
  CHECK(precede(always(-kInfinite, 0), Ratio(1), always(-1, 2), Ratio(1)) == always(-kInfinite, 2));
  CHECK(precede(always(-1, 0), Ratio(1), always(-kInfinite, 0), Ratio(1)) == always(-kInfinite, 0));
  CHECK(precede(always(-kInfinite, kInfinite), Ratio(1), always(0, 0), Ratio(1)) ==
        always(-kInfinite, kInfinite));
}

TEST_CASE("a layer with an empty field makes the whole field empty", "[receptive field]") {
  const ReceptiveFields blind = {ReceptiveField{}};
  CHECK(precede(blind, Ratio(1), always(0, 0), Ratio(1)) == blind);
  CHECK(precede(always(-1, 0), Ratio(1), blind, Ratio(1)) == blind);
}

TEST_CASE("fields of parallel layers are merged per step of their cycles", "[receptive field]") {
  const std::array<ReceptiveFields, 2> layers = {always(-3, 0), always(0, 2)};
  CHECK(merge_steps(layers) == always(-3, 2));
  CHECK(merge_aligned(always(-3, 0), Ratio(1), always(0, 2), Ratio(1)) == always(-3, 2));
  // Cycles of two and three steps repeat together after six.
  const ReceptiveFields two = {StepRange{0, 0}, StepRange{-1, 0}};
  const ReceptiveFields three = {StepRange{0, 0}, StepRange{0, 0}, StepRange{0, 4}};
  CHECK(merge_aligned(two, Ratio(1), three, Ratio(1)).size() == 6);
}

// The definition of `precede`, evaluated step by step.
ReceptiveFields precede_slowly(const ReceptiveFields& fields, Ratio ratio,
                               const ReceptiveFields& previous, Ratio previous_ratio) {
  ReceptiveFields out;
  for (size_t i = 0; i < fields.size(); ++i) {
    const auto step = static_cast<int64_t>(i);
    ReceptiveField seen;
    const ReceptiveField range = receptive_field_at(fields, ratio, step);
    for (int64_t s = range->start; s <= range->end; ++s)
      seen = merge(seen, receptive_field_at(previous, previous_ratio, s));
    const int64_t offset = (ratio * previous_ratio).inverse().floor_times(step);
    if (seen) seen = StepRange{seen->start - offset, seen->end - offset};
    out.push_back(seen);
  }
  return out;
}

TEST_CASE("the first and last cycles of a range determine its bounds", "[receptive field]") {
  const ReceptiveFields previous = {StepRange{-9, 1}, ReceptiveField{}, StepRange{0, 12}};
  for (int64_t start = -7; start <= 2; ++start) {
    for (int64_t length = 0; length <= 12; ++length) {
      const ReceptiveFields fields = {StepRange{start, start + length}, StepRange{start, start}};
      for (const Ratio ratio : {Ratio(1), Ratio(3), Ratio(3, 2)}) {
        CHECK(precede(fields, Ratio(2), previous, ratio) ==
              precede_slowly(fields, Ratio(2), previous, ratio));
      }
    }
  }
  // The time does not depend on how far a layer sees.
  constexpr int64_t kFar = int64_t{1} << 40;
  CHECK(precede(always(-kFar, 0), Ratio(1), always(-kFar, 0), Ratio(1)) == always(-2 * kFar, 0));
}

TEST_CASE("cycles that are too long to list are an error", "[receptive field]") {
  CHECK(common_cycle(4, 6) == 12);
  CHECK(repeated(StepRange{0, 0}, 3) == ReceptiveFields(3, StepRange{0, 0}));
  CHECK_THROWS_AS(repeated(StepRange{0, 0}, int64_t{1} << 31), Error);
  CHECK_THROWS_AS(common_cycle((size_t{1} << 20) - 1, size_t{1} << 20), Error);
}

}  // namespace
}  // namespace sl
