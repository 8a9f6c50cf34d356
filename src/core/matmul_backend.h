// Which code computes large products.
#pragma once

#include <cstdint>

namespace sl {

// The default is the one that is expected to be the fastest on this CPU.
enum class MatmulBackend : int32_t { kDefault, kOwn, kOneDnn, kOpenBlas };

}  // namespace sl
