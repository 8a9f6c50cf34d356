// Window functions, as configs name them: "hann", {"function": "hamming", "periodic": false},
// {"function": "get", "args": [["kaiser", 8.0]]} (reference: signal.*_window).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/config.h"

namespace sl {

// Returns the window of a length as computed in a dtype, which matters in half precision. Empty: no
// window.
using WindowFunction = std::function<std::vector<double>(int64_t length, DType dtype)>;

// The names of windows, in their order.
std::vector<std::string> window_names();

// Reads a window function; the default is "hann". Null stands for no window and is an error unless
// `allow_none`.
WindowFunction read_window(Config& config, const char* field, bool allow_none);

}  // namespace sl
