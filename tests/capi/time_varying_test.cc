// Tests layers that have weights for each step, up to their last step and beyond.
#include <catch2/catch.hpp>
#include <cmath>

#include "support/models.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

Tensor ones(sl_dtype dtype, std::vector<int64_t> dims) {
  Tensor x = make_sequence(dtype, std::move(dims));
  for (int64_t i = 0; i < x.size(); ++i) x.set(i, 1.0);
  return x;
}

// Checks that the steps [0, limit) are numbers and all later ones NaN.
void check_numbers(const Tensor& y, int64_t limit) {
  for (int64_t i = 0; i < y.size(); ++i) {
    const int64_t t = i / y.step_size() % y.time();
    INFO("element " << i << " of step " << t);
    CHECK(std::isnan(y.at(i).real()) == (t >= limit));
  }
}

TEST_CASE("steps after the last one are NaN", "[time_varying]") {
  const struct {
    const char* config;
    sl_dtype dtype;
    std::vector<int64_t> dims;
    bool layer_wise;
  } cases[] = {
      {R"({"type":"SequenceDense","features":2,"num_steps":5,"activation":"relu"})",
       SL_DTYPE_FLOAT32,
       {2, 8, 3},
       true},
      {R"({"type":"MaskedDense","features":2,"num_steps":5})", SL_DTYPE_FLOAT32, {2, 8, 3}, false},
      {R"({"type":"SequenceEmbedding","dimension":2,"num_steps":5,"num_embeddings_per_step":3})",
       SL_DTYPE_INT32,
       {2, 8},
       true},
  };
  for (const auto& c : cases) {
    INFO(c.config);
    const Layer layer = make_model(c.config, 3);
    const Input input{ones(c.dtype, c.dims), {}};
    if (c.layer_wise) check_numbers(apply(layer, input), 5);
    for (const int64_t blocks : {1, 2, 4, 8}) {
      Stepper::Options options;
      options.blocks_per_step = blocks;
      check_numbers(Stepper(layer, input, options).run_all(), 5);
    }
  }
}

TEST_CASE("threads share the steps and change nothing", "[time_varying]") {
  for (const char* type : {"SequenceDense", "MaskedDense"}) {
    const std::string config =
        R"({"features":70,"num_steps":40,"activation":"tanh","type":")" + std::string(type) + "\"}";
    INFO(config);
    std::mt19937 rng(1);
    const Input input{random_sequence(SL_DTYPE_FLOAT32, {3, 40, 90}, rng), {}};
    sl_layer_options options = SL_LAYER_OPTIONS_INIT;
    options.num_threads = 4;
    const Tensor alone = apply(make_model(config, 90), input);
    CHECK(apply(make_model(config, 90, &options), input).bytes == alone.bytes);
  }
}

TEST_CASE("a layer-wise run of a masked dense layer refuses more steps than it has weights for",
          "[time_varying]") {
  const Layer layer = make_model(R"({"type":"MaskedDense","features":2,"num_steps":5})", 3);
  CHECK_NOTHROW(apply(layer, {ones(SL_DTYPE_FLOAT32, {1, 5, 3}), {}}));
  CHECK_THROWS_WITH(apply(layer, {ones(SL_DTYPE_FLOAT32, {1, 6, 3}), {}}),
                    Contains("6 steps are more than num_steps, 5"));
}

}  // namespace
}  // namespace sl::testing
