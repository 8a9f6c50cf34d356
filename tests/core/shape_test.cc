#include "core/shape.h"

#include <catch2/catch.hpp>

namespace sl {
namespace {

Shape full_shape() {
  Shape shape;
  for (int i = 0; i < Shape::kMaxRank; ++i) shape.push_back(i);
  return shape;
}

TEST_CASE("shapes broadcast as in NumPy", "[shape]") {
  CHECK(broadcast({}, {}) == Shape{});
  CHECK(broadcast({3}, {}) == Shape{3});
  CHECK(broadcast({2, 1, 4}, {3, 1}) == Shape{2, 3, 4});
  CHECK(broadcast({1}, {0}) == Shape{0});
  CHECK(broadcast({5, 1}, {1, 7}) == Shape{5, 7});
  CHECK_THROWS_WITH(broadcast({2, 3}, {2}), "shapes [2, 3] and [2] cannot be broadcast together");
  CHECK_THROWS_AS(broadcast({0}, {2}), Error);
}

TEST_CASE("shapes grow, shrink and slice", "[shape]") {
  Shape shape{2, 3};
  shape.insert(1, 7);
  CHECK(shape == Shape{2, 7, 3});
  shape.erase(0);
  CHECK(shape == Shape{7, 3});
  CHECK(shape.back() == 3);
  shape.pop_back();
  CHECK(shape == Shape{7});
  CHECK(Shape{1, 2, 3, 4}.slice(1, 3) == Shape{2, 3});
  CHECK(Shape{1, 2}.slice(2, 2).empty());
}

TEST_CASE("sizes of shapes", "[shape]") {
  CHECK(Shape{}.size() == 1);
  CHECK(Shape{4, 5}.size() == 20);
  CHECK(Shape{4, 0, 5}.size() == 0);
}

TEST_CASE("a shape has at most ten dimensions", "[shape]") {
  Shape shape = full_shape();
  CHECK(shape.rank() == Shape::kMaxRank);
  CHECK_THROWS_WITH(shape.push_back(1), "more than 10 dimensions");
  CHECK(shape == full_shape());
}

TEST_CASE("shapes as text", "[shape]") {
  CHECK(to_string(Shape{}) == "[]");
  CHECK(to_string(Shape{2, 16, 8}) == "[2, 16, 8]");
  CHECK(to_string(ChannelSpec{DType::kInt8, {4}}) == "int8[4]");
}

}  // namespace
}  // namespace sl
