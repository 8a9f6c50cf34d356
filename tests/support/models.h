// Models with random weights, for tests that care what a model does and not what it was trained
// for.
#ifndef SEQUENCE_LAYERS_TESTS_SUPPORT_MODELS_H_
#define SEQUENCE_LAYERS_TESTS_SUPPORT_MODELS_H_

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "cli/api.h"
#include "cli/tensor.h"

namespace sl::testing {

using cli::Tensor;

// What the library cannot know of a layer's weights before it has them.
struct WeightHint {
  int64_t any = 1;  // a size that only the input decides
  // Counts of the Repeats around it, outermost first.
  std::vector<int64_t> stack;
  // All of it, where even the rank is open.
  std::vector<int64_t> shape;
};

// By the layer's name, a part of its tensors' paths; the empty name stands for all others.
using WeightHints = std::map<std::string, WeightHint>;

// Asks the library for the weights that it misses, until it misses none. Weights are random and
// small enough that layers in a row do not blow up.
cli::Weights make_weights(const std::string& config, const WeightHints& hints, std::mt19937& rng,
                          const sl_registry* registry = nullptr);

// Writes a model of float32 weights as a directory that is there.
void write_model(const std::string& directory, const std::string& config,
                 const sl_weights* weights);

// A model whose layers all take `channels` where they ask for any size.
cli::Layer make_model(const std::string& config, int64_t channels = 1,
                      const sl_layer_options* options = nullptr);

// Of every kind of layer, each with the spec of an input that it takes: small models that cover the
// ways in which steps can be made.
struct Sample {
  const char* name;
  const char* config;
  sl_dtype dtype;
  std::vector<int64_t> channels;
};
const std::vector<Sample>& samples();
// What its layers take where they ask for any size.
int64_t any_size(const Sample& sample);
cli::Layer make_sample(const Sample& sample, const sl_layer_options* options = nullptr);
sl_channel_spec spec_of(const Sample& sample);

// What a call says when it fails: its status and its message.
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
    failure.status = result < 0 ? error.code : SL_STATUS_OK;  // a count
  } else {
    failure.status = result;
  }
  failure.message = error.message;
  return failure;
}

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_SUPPORT_MODELS_H_
