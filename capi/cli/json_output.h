// Output of --json.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_JSON_OUTPUT_H_
#define SEQUENCE_LAYERS_CAPI_CLI_JSON_OUTPUT_H_

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

namespace sl::cli {

// Fields are printed in the order in which they were set.
using nlohmann::ordered_json;

// Always prints valid JSON: bytes that are not UTF-8 are replaced, NaN and infinities become null.
inline void print_json(const ordered_json& value) {
  const auto replace = ordered_json::error_handler_t::replace;
  std::printf("%s\n", value.dump(1, ' ', false, replace).c_str());
}

// The value, or null if there is none.
template <typename T>
ordered_json json_of(const std::optional<T>& value) {
  return value ? ordered_json(*value) : ordered_json();
}

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_JSON_OUTPUT_H_
