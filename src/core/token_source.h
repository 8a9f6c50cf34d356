// Chooses tokens that a layer feeds back to itself before its step ends.
#pragma once

#include <cstdint>

#include "core/sequence.h"

namespace sl {

class TokenSource {
 public:
  // Whether tokens are chosen by their logits. If not, they are those of the layer's input, and the
  // layer need not compute logits.
  virtual bool reads_logits() const = 0;
  // Real-time. Writes the token of each item by the logits [batch, 1, vocabulary], float32, of one
  // part of the step. An item whose step is invalid gets any token that exists.
  virtual void choose(int64_t part, const Sequence& logits, int32_t* tokens) = 0;

 protected:
  ~TokenSource() = default;
};

}  // namespace sl
