// Models and recorded cases on disk.
#ifndef SEQUENCE_LAYERS_CAPI_TESTING_MODEL_H_
#define SEQUENCE_LAYERS_CAPI_TESTING_MODEL_H_

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "testing/contract.h"

namespace sl::testing {

using sequence_layers::Weights;

struct Model {
  std::string directory;
  nlohmann::json config;
  std::optional<Weights> weights;  // nothing if the directory has none
  Layer layer;

  // Input steps per second from the model's metadata, if it states them. Throws if the value is
  // invalid.
  std::optional<double> sample_rate() const;
  // Whether results are only accurate to half precision.
  bool half_precision() const;
};

Model open_model(const std::string& directory, const sl_layer_options* options = nullptr);

// Reads a whole regular file.
std::string read_file(const std::string& path);

// Finds a tensor by its plain name; complex tensors may be stored as pairs of floats.
Tensor read_tensor(const Weights& weights, const std::string& name);
// Reads the tensors `name`.values and `name`.mask as one sequence.
Tensor read_sequence(const Weights& weights, const std::string& name);

// The tensors whose names begin with the prefix, with the prefix removed.
Weights select_weights(const Weights& weights, const std::string& prefix);
bool any_half_tensor(const Weights& weights);

// Reads a contract case from its JSON and from the tensors whose names begin with the prefix. The
// caller handles `config` and the weights.
Case read_case(const nlohmann::json& recorded, const Weights& tensors, const std::string& prefix,
               bool half_precision);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_CAPI_TESTING_MODEL_H_
