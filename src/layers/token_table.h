// Interface of layers that look up tokens in a table.
#pragma once

#include <cstdint>

namespace sl {

class TokenTable {
 public:
  // The number of tokens, which are integers from 0.
  virtual int64_t token_count() const = 0;

 protected:
  ~TokenTable() = default;
};

}  // namespace sl
