// For layers whose config has no fields of its own.
#pragma once

#include "layers/config.h"

namespace sl {

struct NoFields {
  explicit NoFields(Config&) {}
};

}  // namespace sl
