// Messages for people who run the library. Never called in steps. A message for which there is no
// memory is lost: it is no reason for a call to fail.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <string>
#include <utility>

namespace sl {

// Values are those of SL_LOG_*.
enum class LogLevel : int32_t { kDebug = 1, kInfo = 2, kWarning = 3, kError = 4, kOff = 5 };

using LogCallback = void (*)(void* user_data, int32_t level, const char* message);

// A null callback stands for spdlog on stderr.
void set_log(LogCallback callback, void* user_data, LogLevel level);
void log_message(LogLevel level, const std::string& message) noexcept;

template <typename... Args>
void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) noexcept {
  try {
    log_message(level, fmt::format(format, std::forward<Args>(args)...));
  } catch (...) {
  }
}

}  // namespace sl
