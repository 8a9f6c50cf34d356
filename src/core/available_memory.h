// How much memory the system can still give to this process.
#pragma once

#include <cstddef>

namespace sl {

// The least of what the machine and the process's memory cgroup have left, swap and the file cache
// included. SIZE_MAX where the system does not tell.
size_t available_memory();

}  // namespace sl
