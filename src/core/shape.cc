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
    out += std::to_string(shape[i]);
  }
  return out + "]";
}

std::string to_string(const ChannelSpec& spec) {
  return std::string(name_of(spec.dtype)) + to_string(spec.shape);
}

}  // namespace sl
