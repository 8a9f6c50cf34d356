// A layer's properties, in the format of the golden cases.
#ifndef SEQUENCE_LAYERS_CAPI_TESTING_METADATA_H_
#define SEQUENCE_LAYERS_CAPI_TESTING_METADATA_H_

#include <nlohmann/json.hpp>
#include <string>

#include "testing/runner.h"

namespace sl::testing {

// Reads block_size, output_ratio, supports_step, latencies, receptive_field and
// receptive_field_per_step. A property that cannot be determined is {"error": text}.
nlohmann::json read_metadata(const Layer& layer);

// {"channel_shape": [...], "dtype": "float32"}, or {"error": text} for an invalid spec.
nlohmann::json spec_json(const sl_channel_spec& spec);
nlohmann::json read_output_spec(const Layer& layer, const Input& input);

// Compares the keys of `want` that are properties or belong to an output spec; {"error"} in `want`
// matches any error. Returns the first difference, or an empty string.
std::string compare_metadata(const nlohmann::json& got, const nlohmann::json& want);

// For example: "RGLRU "rg": reason; cure: what to change".
std::string step_difference_text(const sl_step_difference& difference);

// [start, end] of a receptive field, infinities as text; null if there is none.
nlohmann::json receptive_field_json(const sequence_layers::ReceptiveField& field);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_CAPI_TESTING_METADATA_H_
