// Numbers as text for people.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_NUMBERS_H_
#define SEQUENCE_LAYERS_CAPI_CLI_NUMBERS_H_

#include <cstdint>
#include <string>

namespace sl::cli {

// The number with its digits in groups of three.
std::string grouped(int64_t value);
// For example "1.2 MiB".
std::string bytes_text(int64_t bytes);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_NUMBERS_H_
