// Work at the end of a layer that belongs to the layer behind it. A chain asks for it when it is
// made, and then leaves out the layer whose work another one does.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "ops/activation.h"
#include "ops/normalize.h"

namespace sl {

// An affine function of each element of the last channel axis, or a function of each element.
using Epilogue = std::variant<ops::AxisAffine, Activation>;

// Operations for each element.
inline int64_t flop_of(const Epilogue& epilogue) {
  return std::holds_alternative<ops::AxisAffine>(epilogue) ? 3 : 1;
}

// A layer whose whole work is an epilogue.
class HasEpilogue {
 public:
  virtual ~HasEpilogue() = default;
  // Empty if it is not an epilogue, or changes the dtype of float32 or complex64.
  virtual std::optional<Epilogue> epilogue() const = 0;
};

// A layer that can do such work itself.
class TakesEpilogue {
 public:
  virtual ~TakesEpilogue() = default;
  // Takes the work over, before the first run; false if it cannot.
  virtual bool take(const Epilogue& epilogue) = 0;
};

}  // namespace sl
