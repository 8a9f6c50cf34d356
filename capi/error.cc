#include <algorithm>
#include <cstddef>

#include "convert.h"
#include "core/log.h"
#include "core/text.h"
#include "handles.h"

namespace sl::capi {

sl_status report(sl_error* error, Code code, const char* message) noexcept {
  const auto status = static_cast<sl_status>(code);
  constexpr size_t kFixed = offsetof(sl_error, message);
  if (!error) return status;
  const size_t size = size_of_struct(*error);
  if (size < kFixed) return status;
  error->code = status;
  if (size == kFixed) return status;
  // Through a byte pointer: the buffer may be larger than this version's struct.
  copy_text(message, reinterpret_cast<char*>(error) + kFixed, size - kFixed);
  return status;
}

}  // namespace sl::capi

uint32_t sl_version(void) {
  return SL_VERSION_MAJOR << 16 | SL_VERSION_MINOR << 8 | SL_VERSION_PATCH;
}

const char* sl_status_name(sl_status status) {
  const bool known = status >= 0 && status < static_cast<sl_status>(std::size(sl::kStatusNames));
  return known ? sl::kStatusNames[status] : "unknown";
}

void sl_log_set(sl_log_callback callback, void* user_data, sl_log_level level) {
  level = std::clamp(level, int32_t{SL_LOG_DEFAULT}, int32_t{SL_LOG_OFF});
  const auto known = sl::capi::or_default(level, int32_t{SL_LOG_WARNING});
  sl::set_log(callback, user_data, static_cast<sl::LogLevel>(known));
}
