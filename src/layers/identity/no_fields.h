// The fields of layers that have none of their own.
#pragma once

#include "core/config.h"

namespace sl {

struct NoFields {
  explicit NoFields(Config&) {}
};

}  // namespace sl
