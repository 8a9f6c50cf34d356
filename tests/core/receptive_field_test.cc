#include "core/receptive_field.h"

#include <array>
#include <catch2/catch.hpp>

namespace sl {
namespace {

ReceptiveFields always(int64_t start, int64_t end) { return {StepRange{start, end}}; }

TEST_CASE("merging takes the hull", "[receptive field]") {
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
  // Downsampling by three.
  CHECK(receptive_field_at(always(-2, 0), Ratio(1, 3), 2) == StepRange{4, 6});
  // Nothing at all, and everything.
  CHECK(receptive_field_at({ReceptiveField{}}, Ratio(1), 7) == ReceptiveField{});
  CHECK(receptive_field_at(always(-kInfinite, 0), Ratio(1), 7) == StepRange{-kInfinite, 7});
}

TEST_CASE("causal convolutions in a row add up", "[receptive field]") {
  const ReceptiveFields both = precede(always(-2, 0), Ratio(1), always(-4, 0), Ratio(1));
  CHECK(both == always(-6, 0));
}

TEST_CASE("behind a stride, steps count for more", "[receptive field]") {
  // A causal kernel of 3 over the outputs of a stride of 2 with a kernel of 2.
  const ReceptiveFields both = precede(always(-2, 0), Ratio(1), always(-1, 0), Ratio(1, 2));
  CHECK(both == always(-5, 0));
}

TEST_CASE("behind an upsampling, steps count for less", "[receptive field]") {
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

TEST_CASE("a step that sees nothing, behind or before", "[receptive field]") {
  const ReceptiveFields blind = {ReceptiveField{}};
  CHECK(precede(blind, Ratio(1), always(0, 0), Ratio(1)) == blind);
  CHECK(precede(always(-1, 0), Ratio(1), blind, Ratio(1)) == blind);
}

TEST_CASE("layers side by side", "[receptive field]") {
  const std::array<ReceptiveFields, 2> layers = {always(-3, 0), always(0, 2)};
  CHECK(merge_steps(layers) == always(-3, 2));
  CHECK(merge_aligned(always(-3, 0), Ratio(1), always(0, 2), Ratio(1)) == always(-3, 2));
  // Cycles of two and three steps meet after six.
  const ReceptiveFields two = {StepRange{0, 0}, StepRange{-1, 0}};
  const ReceptiveFields three = {StepRange{0, 0}, StepRange{0, 0}, StepRange{0, 4}};
  CHECK(merge_aligned(two, Ratio(1), three, Ratio(1)).size() == 6);
}

}  // namespace
}  // namespace sl
