// Models and recorded cases on disk.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_MODEL_H_
#define SEQUENCE_LAYERS_CAPI_CLI_MODEL_H_

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/api.h"
#include "cli/contract.h"

namespace sl::cli {

struct Model {
  std::string directory;
  nlohmann::json config;
  Weights weights;  // null if the directory has none
  Layer layer;

  // Steps of the input per second, where the model's metadata tells. Throws if that cannot be.
  std::optional<double> sample_rate() const;
  // Whether its numbers are only good to half precision.
  bool half_precision() const;
};

Model open_model(const std::string& directory);

// All of a regular file.
std::string read_file(const std::string& path);
Weights open_weights(const std::string& path);

// A tensor by its plain name; complex ones may be stored as pairs.
bool has_tensor(const sl_weights* weights, const std::string& name);
Tensor read_tensor(const sl_weights* weights, const std::string& name);
// values and mask in one.
Tensor read_sequence(const sl_weights* weights, const std::string& name);

// The set of the tensors whose names begin with the prefix, under the rest of their names.
Weights select_weights(const sl_weights* weights, const std::string& prefix);
bool any_half_tensor(const sl_weights* weights);

Layer create_layer(const std::string& config, const sl_weights* weights);

// Fills a contract case from its JSON and its tensors, whose names begin with the prefix. `config`
// and weights are the caller's business.
Case read_case(const nlohmann::json& recorded, const sl_weights* tensors, const std::string& prefix,
               bool half_precision);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_MODEL_H_
