// Windows as configs name them: "hann", {"function": "hamming", "periodic": false}, {"function":
// "get", "args": [["kaiser", 8.0]]} (reference: signal.*_window).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/config.h"

namespace sl {

// The window of a length, as computed in a dtype (which shows in half precision). Empty: none.
using WindowFunction = std::function<std::vector<double>(int64_t length, DType dtype)>;

// The names of windows, in their order.
std::vector<std::string> window_names();

// A field that may be missing, which is "hann". Null is no window, where that is allowed.
WindowFunction read_window(Config& config, const char* field, bool allow_none);

}  // namespace sl
