// How much memory the system can still give to this process.
#pragma once

#include <cstddef>

namespace sl {

// The minimum of the memory left to the machine and to the process's memory cgroups, in bytes, swap
// and the file cache included. SIZE_MAX if the system does not provide it.
size_t available_memory();

}  // namespace sl
