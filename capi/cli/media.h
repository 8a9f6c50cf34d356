// Sounds and figures, which need libraries that the tool of Python's wheel is built without.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_MEDIA_H_
#define SEQUENCE_LAYERS_CAPI_CLI_MEDIA_H_

#include <string>

namespace sl::cli {

// Throws std::runtime_error, which names the file, if this tool has no sounds and figures.
void require_media(const std::string& file);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_MEDIA_H_
