// Fault 12: one masked NaN frame made all later output of an RGLRU's stream NaN, and masks with
// holes were not checked at all.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "faults/faults.h"
#include "support/models.h"
#include "testing/contract.h"
#include "testing/contract_masks.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

const std::string kRglru = R"({"type":"RGLRU","units":4,"num_heads":2})";
const std::string kDense = R"({"type":"Dense","features":4})";

std::string serial(const std::string& layers) {
  return R"({"type":"Serial","layers":[)" + layers + "]}";
}
std::string bidirectional(const std::string& layer) {
  return R"({"type":"Bidirectional","combination":"concat","forward":)" + layer +
         R"(,"backward":)" + layer + "}";
}

// An input of 20 steps. The steps 0, 7 and 8 of the first item are invalid and hold `filler`.
Tensor with_holes(double filler) {
  std::mt19937 rng(3);
  Tensor x = random_sequence(SL_DTYPE_FLOAT32, {2, 20, 4}, rng);
  for (const int64_t t : {0, 7, 8}) x.mask[static_cast<size_t>(t)] = 0;
  return fill_invalid(x, filler);
}

bool is_finite(const Tensor& y) {
  const Tensor valid = fill_invalid(y, 0);
  for (int64_t i = 0; i < valid.size(); ++i) {
    if (!std::isfinite(valid.at(i).real())) return false;
  }
  return true;
}

TEST_CASE("fault 12: values of invalid steps change no output", "[f12]") {
  const std::string models[] = {
      kRglru,
      serial(kDense + "," + kRglru),
      serial(kDense + "," + kRglru + "," + kDense + "," + kRglru),
      R"({"type":"RGLRU","units":4,"num_heads":1,"only_real":false})",
      R"({"type":"RGLRU","units":4,"num_heads":1,"compute_dtype":"bfloat16"})",
      R"({"type":"Residual","layers":[)" + kDense + R"(,{"type":"Gelu"},)" + kRglru + "]}",
      R"({"type":"ParallelChannels","num_groups":2,"combination":"concat","child_layer":)"
      R"({"type":"RGLRU","units":2,"num_heads":1}})",
      bidirectional(kRglru),
      bidirectional(serial(kDense + "," + kRglru)),
      R"({"type":"ReverseSequence"})",
  };
  for (const std::string& config : models) {
    INFO(config);
    const Layer layer = make_model(config, 4);
    const Tensor y = apply(layer, {with_holes(0), {}});
    for (const double filler : {static_cast<double>(kNan), 1e6, HUGE_VAL}) {
      const Input filled{with_holes(filler), {}};
      CHECK(is_finite(apply(layer, filled)));
      CHECK(compare_bits(apply(layer, filled), y).reason == "");
      if (!layer.supports_step()) continue;
      const Tensor steps = Stepper(layer, filled).run_all();
      CHECK(compare_sequences(steps, y, {1e-2, 1e-2}).reason == "");
    }
  }
}

// Layers before the RGLRU may turn invalid steps into infinities, which must not remain in its
// state.
TEST_CASE("fault 12: an RGLRU recovers from infinities in an invalid step", "[f12]") {
  for (const char* dtype : {"float32", "bfloat16", "float16"}) {
    INFO(dtype);
    const Layer layer =
        make_model(serial(R"({"type":"Abs"},{"type":"Log"},{"type":"Cast","dtype":")" +
                          std::string(dtype) + R"("},)" + kRglru),
                   4);
    const Input input{with_holes(0), {}};  // the logarithm of zero is infinite
    CHECK(is_finite(apply(layer, input)));
    CHECK(is_finite(Stepper(layer, input).run_all()));
  }
}

TEST_CASE("fault 12: constants of models that read invalid steps are masked too", "[f12]") {
  const Layer layer =
      make_model(serial(R"({"type":"Conditioning","conditioning_name":"c","projection":"identity",)"
                        R"("combination":"add","streaming":true},)" +
                        kRglru),
                 4);
  const auto input = [](double filler) {
    Tensor c = with_holes(filler);
    return Input{with_holes(0), {{"c", std::move(c)}}};
  };
  const Tensor y = apply(layer, input(0));
  CHECK(compare_bits(apply(layer, input(kNan)), y).reason == "");
  CHECK(compare_sequences(Stepper(layer, input(kNan)).run_all(), y, {}).reason == "");
}

// A whole run computes many queries at once, a step computes one.
TEST_CASE("fault 12: outputs of attention at invalid steps do not depend on the block size",
          "[f12]") {
  const Layer layer =
      make_model(serial(R"({"type":"DotProductAttention","source_name":"s","num_heads":2,)"
                        R"("units_per_head":2},{"type":"Flatten"},)" +
                        kRglru),
                 4);
  std::mt19937 rng(4);
  const Input input{with_holes(0), {{"s", random_sequence(SL_DTYPE_FLOAT32, {2, 5, 4}, rng)}}};
  const Tensor y = apply(layer, input);
  const Tensor steps = Stepper(layer, input).run_all();
  CHECK(compare_sequences(steps, y, {1e-5, 1e-5}).reason == "");
}

TEST_CASE("fault 12: masks of the checker begin with invalid steps and have holes", "[f12]") {
  std::mt19937 rng(1);
  const Tensor x = random_sequence(SL_DTYPE_FLOAT32, {3, 20, 2}, rng);
  const auto masked = masked_inputs({x, {}}, [](sl_dtype dtype) { return poison(dtype); });
  REQUIRE(masked);
  const Tensor& holes = masked->zeros.x;
  CHECK(holes.mask == masked->poisoned.x.mask);
  bool begins_invalid = false;
  for (int64_t b = 0; b < 3; ++b) {
    int64_t changes = 0;
    for (int64_t t = 1; t < 20; ++t) {
      changes += holes.valid(b, t) != holes.valid(b, t - 1);
      CHECK((x.valid(b, t) || !holes.valid(b, t)));
    }
    CHECK(changes >= 2);
    begins_invalid = begins_invalid || !holes.valid(b, 0);
    if (!holes.valid(b, 0)) CHECK(std::isnan(masked->poisoned.x.at(b * 40).real()));
  }
  CHECK(begins_invalid);
}

TEST_CASE("fault 12: the contract holds for masks with holes", "[f12]") {
  const ToolRun run = run_tool(
      {"golden", SL_GOLDEN_DIR, "--only", "RGLRU,Bidirectional,ReverseSequence,Lookahead,LSTM,S5"});
  CHECK(run.status == 0);
  CHECK_THAT(run.output, Catch::Matchers::Contains(" 0 failed"));
}

// These cases were recorded from the reference, with masks that begin with invalid steps and have
// holes.
TEST_CASE("fault 12: masks with holes give what the reference gives", "[f12]") {
  const ToolRun run = run_tool({"golden", fault_input("golden"), "--only", "Holes"});
  CHECK(run.status == 0);
  CHECK_THAT(run.output, Catch::Matchers::Contains(" 0 failed"));
}

}  // namespace
}  // namespace sl::testing
