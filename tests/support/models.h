// Models with random weights, for tests that do not need a trained model.
#ifndef SEQUENCE_LAYERS_TESTS_SUPPORT_MODELS_H_
#define SEQUENCE_LAYERS_TESTS_SUPPORT_MODELS_H_

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "testing/runner.h"

namespace sl::testing {

using sequence_layers::Weights;

// Sizes of a layer's weights that neither its config nor the library determines.
struct WeightHint {
  int64_t any = 1;  // a size that depends on the input only
  // Counts of the enclosing Repeats, outermost first.
  std::vector<int64_t> stack;
  // The whole shape, for weights of unknown rank.
  std::vector<int64_t> shape;
};

// Hints by the layer's name, which is a part of its tensors' paths. The empty name is the default
// for all other layers.
using WeightHints = std::map<std::string, WeightHint>;

// Adds each weight that the library reports as missing, until none is. The random values are small,
// so that outputs of stacked layers stay bounded.
Weights make_weights(const std::string& config, const WeightHints& hints, std::mt19937& rng,
                     const sl_registry* registry = nullptr);

// Writes a model with float32 weights, and metadata of these, into an existing directory.
void write_model(const std::string& directory, const std::string& config, const Weights& weights,
                 const std::map<std::string, std::string>& metadata = {});

// A model with random weights; sizes that its layers leave open become `channels`.
Layer make_model(const std::string& config, int64_t channels = 1,
                 const sl_layer_options* options = nullptr);

// A registry with one more layer type, and options by which a layer uses it.
struct CustomType {
  CustomType(const std::string& type, const sl_layer_callbacks& callbacks) {
    registry.add(type, callbacks);
    options.registry = registry.get();
  }

  sequence_layers::Registry registry;
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
};

// Small models that cover the ways in which steps can be computed, with at least one of each kind
// of layer, each with the spec of its input.
struct Sample {
  const char* name;
  const char* config;
  sl_dtype dtype;
  std::vector<int64_t> channels;
};
const std::vector<Sample>& samples();
// The size that weights get where the sample's layers leave it open.
int64_t any_size(const Sample& sample);
Layer make_sample(const Sample& sample, const sl_layer_options* options = nullptr);
sl_channel_spec spec_of(const Sample& sample);

// The status and the message of a failed call.
struct Failure {
  sl_status status = SL_STATUS_OK;
  std::string message;
};

template <typename Call>
Failure failure_of(Call&& call) {
  sl_error error = SL_ERROR_INIT;
  Failure failure;
  const auto result = call(&error);
  if constexpr (std::is_same_v<std::remove_const_t<decltype(result)>, int64_t>) {
    failure.status = result < 0 ? error.code : SL_STATUS_OK;  // a call that returns a count
  } else {
    failure.status = result;
  }
  failure.message = error.message;
  return failure;
}

// As failure_of, for fn(), which throws the error.
template <typename Fn>
Failure thrown_by(Fn&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return {error.status(), error.what()};
  }
  return {};
}

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_SUPPORT_MODELS_H_
