// A number for each step, from a constant: positions or segments, which decide who sees whom.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/ring.h"
#include "layers/layer.h"

namespace sl {

class KeyNumbers {
 public:
  // Numbers of each batch item's keys, `pitch` apart. Null if there are none.
  struct Rows {
    const double* values = nullptr;
    int64_t pitch = 0;
  };

  // Without a name there are none. Numbers are divided by `divisor` and rounded down, if it is not
  // 1.
  KeyNumbers(std::string name, int64_t divisor) : name_(std::move(name)), divisor_(divisor) {}

  // The constant, if there is one.
  std::vector<ConstantSpec> constants() const;
  // In a stream they are kept for as long as the ring `keys` keeps its frames.
  void declare(Declaration& declaration, const SequenceSpec& input, const RingSpec& keys) const;
  // In scratch: those of x's steps or, in a stream, those of the kept steps and x's.
  Rows layer(Run& run, const Sequence& x) const;
  Rows step(Run& run, const Sequence& x, const RingSpec& keys) const;

 private:
  RingSpec ring(const Constant& constant, const RingSpec& keys) const;
  void check(const Constant& constant, int64_t time) const;
  void finish(double* numbers, int64_t count) const;

  std::string name_;
  int64_t divisor_;
};

}  // namespace sl
