// A number for each step, read from a constant: positions or segments, which decide which steps see
// each other.
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
  // The numbers of the keys of all batch items, whose rows are `pitch` apart. Null if there are
  // none.
  struct Rows {
    const double* values = nullptr;
    int64_t pitch = 0;
  };

  // An empty name stands for no constant. Numbers are divided by `divisor` and rounded down.
  KeyNumbers(std::string name, int64_t divisor) : name_(std::move(name)), divisor_(divisor) {}

  // The spec of the constant, if there is one.
  std::vector<ConstantSpec> constants() const;
  // Declares the state of a stream, which keeps the numbers as long as the ring `keys` keeps keys.
  void declare(Declaration& declaration, const SequenceSpec& input, const RingSpec& keys) const;
  // The numbers in scratch: `layer` returns those of the steps of x, `step` those of the kept steps
  // and of x.
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
