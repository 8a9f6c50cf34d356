// A layer's properties as the golden cases spell them.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_METADATA_H_
#define SEQUENCE_LAYERS_CAPI_CLI_METADATA_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/runner.h"

namespace sl::cli {

// block_size, output_ratio, supports_step, latencies, receptive_field, receptive_field_per_step;
// what the layer cannot tell is {"error": text}.
nlohmann::json read_metadata(const sl_layer* layer);

// {"channel_shape": [...], "dtype": "float32"} of a spec, or an error as above.
nlohmann::json spec_json(const sl_channel_spec& spec);
nlohmann::json read_output_spec(const sl_layer* layer, const Input& input);

// Every key of `want` that properties or output spec have must be equal in `got`; an {"error"} in
// `want` asks for any error. Returns the first difference, empty if there is none.
std::string compare_metadata(const nlohmann::json& got, const nlohmann::json& want);

// What the library says of where steps differ from whole runs: always, and if a mask has holes.
std::vector<sl_step_difference> step_differences(const sl_layer* layer);

// "RGLRU "rg": reason; cure: what to change".
std::string step_difference_text(const sl_step_difference& difference);

// [start, end] of a receptive field, with infinities as text, or null.
nlohmann::json receptive_field_json(int32_t exists, int64_t start, int64_t end);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_METADATA_H_
