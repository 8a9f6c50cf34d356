// Interface of layers that look up tokens in a table.
#pragma once

#include <cstdint>

#include "core/shape.h"
#include "core/status.h"

namespace sl {

class TokenTable {
 public:
  // The number of tokens, which are integers from 0.
  virtual int64_t token_count() const = 0;

 protected:
  // The output spec of a table with rows of `size` values: the input's channels, then the row.
  // Fails unless the inputs are integers.
  static ChannelSpec row_spec(const ChannelSpec& input, DType dtype, int64_t size) {
    if (!is_integer(input.dtype)) {
      fail(Code::kShape, "expected int32 or int8 inputs, got {}", name_of(input.dtype));
    }
    ChannelSpec out{dtype, input.shape};
    out.shape.push_back(size);
    return out;
  }
  ~TokenTable() = default;
};

}  // namespace sl
