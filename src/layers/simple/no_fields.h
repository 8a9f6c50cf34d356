// For layers whose config has no fields of its own.
#pragma once

#include "core/config.h"

namespace sl {

struct NoFields {
  explicit NoFields(Config&) {}
};

}  // namespace sl
