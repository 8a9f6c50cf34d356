#include <algorithm>
#include <cstddef>
#include <cstring>

#include "core/log.h"
#include "handles.h"

namespace sl::capi {

sl_status report(sl_error* error, Code code, const char* message) noexcept {
  const auto status = static_cast<sl_status>(code);
  constexpr size_t kFixed = offsetof(sl_error, message);
  if (!error || error->struct_size <= kFixed) return status;
  error->code = status;
  const size_t length = std::min(std::strlen(message), error->struct_size - kFixed - 1);
  // Through a byte pointer: the buffer may be larger than this version's struct.
  char* buffer = reinterpret_cast<char*>(error) + kFixed;
  std::memcpy(buffer, message, length);
  buffer[length] = '\0';
  return status;
}

}  // namespace sl::capi

uint32_t sl_version(void) {
  return SL_VERSION_MAJOR << 16 | SL_VERSION_MINOR << 8 | SL_VERSION_PATCH;
}

const char* sl_status_name(sl_status status) {
  static constexpr const char* kNames[] = {
      "ok",           "invalid argument", "config", "weights",  "shape",    "unsupported",
      "input/output", "out of memory",    "state",  "callback", "internal", "length"};
  const bool known = status >= 0 && status < static_cast<sl_status>(std::size(kNames));
  return known ? kNames[status] : "unknown";
}

void sl_log_set(sl_log_callback callback, void* user_data, int32_t level) {
  sl::set_log(callback, user_data, static_cast<sl::LogLevel>(std::clamp(level, 0, 4)));
}
