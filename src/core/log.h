// Log messages for people who run the library. Steps never log. A message for which there is no
// memory is dropped, so that no call fails because of it.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <string>
#include <utility>

namespace sl {

// The values equal those of SL_LOG_*.
enum class LogLevel : int32_t { kDebug = 1, kInfo = 2, kWarning = 3, kError = 4, kOff = 5 };

using LogCallback = void (*)(void* user_data, int32_t level, const char* message);

// Sets the callback that gets all messages of at least `level`; null means spdlog on stderr.
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
