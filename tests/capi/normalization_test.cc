// Tests normalization: invalid inputs, and sums over long streams.
#include <catch2/catch.hpp>

#include "support/models.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("normalization refuses inputs that do not fit its config", "[normalization]") {
  const struct {
    const char* config;
    sl_dtype dtype;
    std::vector<int64_t> dims;
    const char* message;
  } cases[] = {
      {R"({"type":"LayerNormalization","axis":-3})",
       SL_DTYPE_FLOAT32,
       {1, 2, 3, 3},
       "axis -3 is not a channel axis"},
      {R"({"type":"L2Normalize"})", SL_DTYPE_FLOAT32, {1, 2}, "axis -1 is not a channel axis"},
      {R"({"type":"LayerNormalization"})", SL_DTYPE_FLOAT32, {1, 2, 4}, "scale is [3]"},
      {R"({"type":"LayerNormalization","use_scale":false})",
       SL_DTYPE_FLOAT32,
       {1, 2, 4},
       "bias is [3]"},
      {R"({"type":"RMSNormalization","guard_against_excess_precision":true})",
       SL_DTYPE_COMPLEX64,
       {1, 2, 3},
       "takes floats, got complex64"},
      {R"({"type":"BatchNormalization"})", SL_DTYPE_INT32, {1, 2, 3}, "expected floats, got int32"},
      {R"({"type":"BatchNormalization"})", SL_DTYPE_FLOAT32, {1, 2, 4}, "mean is [3]"},
      {R"({"type":"GroupNormalization","num_groups":2})",
       SL_DTYPE_FLOAT32,
       {1, 2, 3},
       "3 channels cannot be divided into 2 equal groups"},
      {R"({"type":"GroupNormalization","num_groups":1})",
       SL_DTYPE_COMPLEX64,
       {1, 2, 3},
       "expected floats, got complex64"},
      {R"({"type":"InstanceNormalization"})",
       SL_DTYPE_INT32,
       {1, 2, 3},
       "expected floats, got int32"},
      {R"({"type":"InstanceNormalization","axis":[-1,2],"scale":false,"center":false})",
       SL_DTYPE_FLOAT32,
       {1, 2, 3},
       "an axis is given twice"},
  };
  for (const auto& c : cases) {
    INFO(c.config);
    const Layer layer = make_model(c.config, 3);
    CHECK_THROWS_WITH(apply(layer, {make_sequence(c.dtype, c.dims), {}}), Contains(c.message));
  }
}

TEST_CASE("normalization accepts empty sequences", "[normalization]") {
  for (const char* config :
       {R"({"type":"LayerNormalization"})", R"({"type":"L2Normalize"})",
        R"({"type":"BatchNormalization"})", R"({"type":"GroupNormalization","num_groups":1000000})",
        R"({"type":"GroupNormalization","num_groups":1000000,"cumulative":true})",
        R"({"type":"InstanceNormalization"})"}) {
    INFO(config);
    const Layer layer = make_model(config, 0);
    const Tensor y = apply(layer, {make_sequence(SL_DTYPE_FLOAT32, {2, 3, 0}), {}});
    CHECK(y.dims == std::vector<int64_t>{2, 3, 0});
  }
}

TEST_CASE("threads share the work and change nothing", "[normalization]") {
  for (const char* config :
       {R"({"type":"LayerNormalization","axis":[2]})", R"({"type":"BatchNormalization","axis":2})",
        R"({"type":"GroupNormalization","axis":2,"num_groups":7})",
        R"({"type":"GroupNormalization","axis":2,"num_groups":7,"cumulative":true})",
        R"({"type":"InstanceNormalization","axis":2})"}) {
    INFO(config);
    std::mt19937 rng(1);
    const Input input{random_sequence(SL_DTYPE_FLOAT32, {3, 500, 14, 20}, rng), {}};
    sl_layer_options options = SL_LAYER_OPTIONS_INIT;
    options.num_threads = 4;
    const Tensor alone = apply(make_model(config, 14), input);
    CHECK(apply(make_model(config, 14, &options), input).bytes == alone.bytes);
  }
}

// A single float could hold the sum, 10^9, only to a multiple of 64.
TEST_CASE("cumulative sums keep their precision over long streams", "[normalization]") {
  const Layer layer = make_model(
      R"({"type":"GroupNormalization","num_groups":1,"cumulative":true,"use_scale":false,)"
      R"("use_bias":false})",
      1);
  constexpr int64_t kSteps = 1 << 20;
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, kSteps, 1});
  for (int64_t t = 0; t < kSteps; ++t) x.set(t, t % 2 == 0 ? 1000.1 : 1000.3);
  const Tensor y = apply(layer, {x, {}});
  CHECK(y.at(kSteps - 2).real() == Approx(-1.0).epsilon(2e-3));
  CHECK(y.at(kSteps - 1).real() == Approx(1.0).epsilon(2e-3));
}

}  // namespace
}  // namespace sl::testing
