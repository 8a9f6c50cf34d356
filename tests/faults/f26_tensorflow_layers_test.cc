// Fault 26: layers of the TensorFlow version of sequence_layers were missing.
#include <catch2/catch.hpp>
#include <cmath>

#include "faults/faults.h"
#include "support/models.h"
#include "testing/model.h"

namespace sl::testing {
namespace {

TEST_CASE("fault 26: the cases recorded from TensorFlow pass", "[f26]") {
  const ToolRun run =
      run_tool({"golden", SL_GOLDEN_DIR, "--only",
                "SqueezeTime,Unsqueeze,RDFT,SincFilter1DTranspose,ConcatPositionEmbedding,"
                "NoiseConditioning,AssertChannelSpec"});
  INFO(run.output);
  CHECK(run.status == 0);
  CHECK_THAT(run.output, Catch::Matchers::Contains("29 passed, 0 failed"));
}

TEST_CASE("fault 26: steps beyond the last position get NaN", "[f26]") {
  const Layer layer =
      make_model(R"({"type":"ConcatPositionEmbedding","timesteps":3,"channels":2})");
  Input input;
  input.x = make_sequence(SL_DTYPE_FLOAT32, {1, 5, 1});
  const Tensor y = apply(layer, input);
  for (int64_t t = 0; t < 5; ++t) CHECK(std::isnan(y.at(3 * t + 1).real()) == (t >= 3));
}

TEST_CASE("fault 26: an assertion fails with both specs", "[f26]") {
  const Layer layer = make_model(
      R"({"type":"AssertChannelSpec","expected_channel_shape":[3],"expected_dtype":"int32"})");
  Input input;
  input.x = make_sequence(SL_DTYPE_FLOAT32, {1, 5, 2});
  CHECK_THROWS_WITH(apply(layer, input), Catch::Contains("expected int32[3], got float32[2]"));
}

}  // namespace
}  // namespace sl::testing
