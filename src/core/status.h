// Errors inside the library: an exception with a status code of the C ABI. It is thrown while
// models and states are created and checked, never by a running step.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

namespace sl {

// The values equal those of sl_status.
enum class Code : int32_t {
#define SL_STATUS(Name, C_NAME, value, name) k##Name = value,
#include "core/statuses.inc"
};

// Indexed by the code.
inline constexpr const char* kStatusNames[] = {
#define SL_STATUS(Name, C_NAME, value, name) name,
#include "core/statuses.inc"
};

class Error : public std::exception {
 public:
  Error(Code code, std::string message) : code_(code), message_(std::move(message)) {}
  Code code() const { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }
  // Puts the place where it happened, such as a layer, before the message: once, so that the
  // innermost place stays.
  void locate(const std::string& place) {
    if (located_) return;
    message_ = place + ": " + message_;
    located_ = true;
  }

 private:
  Code code_;
  std::string message_;
  bool located_ = false;
};

template <typename... Args>
[[noreturn]] void fail(Code code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace sl
