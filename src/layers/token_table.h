// What layers have in common that look tokens up.
#pragma once

#include <cstdint>

namespace sl {

class TokenTable {
 public:
  // How many tokens it knows: integers from 0.
  virtual int64_t token_count() const = 0;

 protected:
  ~TokenTable() = default;
};

}  // namespace sl
