#include "core/shape.h"

namespace sl {

Shape broadcast(const Shape& a, const Shape& b) {
  const Shape& longer = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  Shape out = longer;
  const int shift = longer.rank() - shorter.rank();
  for (int i = 0; i < shorter.rank(); ++i) {
    const int64_t x = longer[i + shift], y = shorter[i];
    if (x != y && x != 1 && y != 1) {
      fail(Code::kShape, "shapes {} and {} cannot be broadcast together", to_string(a),
           to_string(b));
    }
    out[i + shift] = x == 1 ? y : x;
  }
  return out;
}

std::string to_string(const Shape& shape) {
  std::string out = "[";
  for (int i = 0; i < shape.rank(); ++i) {
    if (i > 0) out += ", ";
    out += shape[i] == kAnySize ? "any" : std::to_string(shape[i]);
  }
  return out + "]";
}

bool matches(const Shape& a, const Shape& b) {
  return std::ranges::equal(
      a, b, [](int64_t x, int64_t y) { return x == y || x == kAnySize || y == kAnySize; });
}

std::string to_string(const ChannelSpec& spec) {
  return std::string(name_of(spec.dtype)) + to_string(spec.shape);
}

}  // namespace sl
