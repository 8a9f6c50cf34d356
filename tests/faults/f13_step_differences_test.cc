// Fault 13: behind a layer with latency, layers that count or remember invalid steps gave other
// values in steps than in whole runs, and no function reported it.
#include <algorithm>
#include <catch2/catch.hpp>

#include "contract/trees.h"
#include "faults/faults.h"
#include "support/models.h"
#include "testing/contract.h"
#include "testing/metadata.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

struct Expected {
  const char* type;
  const char* layer;
  const char* part_of_reason;
};

std::vector<sl_step_difference> differences_of(const std::string& config, int64_t channels) {
  return make_model(config, channels).step_differences();
}

Report verify(const Layer& layer, const std::vector<int64_t>& channels) {
  std::mt19937 rng(1);
  std::vector<int64_t> dims = {3, 20};
  dims.insert(dims.end(), channels.begin(), channels.end());
  Case c;
  c.layer = &layer;
  c.input.x = random_sequence(SL_DTYPE_FLOAT32, dims, rng);
  c.tolerance = {1e-4, 1e-4};
  return check_contract(c);
}

const std::string kLate =
    R"({"type":"Conv1D","filters":2,"kernel_size":3,"padding":"reverse_causal","name":"conv"})";
const std::string kValidLate =
    R"({"type":"Conv1D","filters":2,"kernel_size":3,"padding":"reverse_causal_valid","name":"valid"})";
const std::string kDelay =
    R"({"type":"Delay","length":2,"delay_layer_output":false,"name":"delay"})";
const std::string kCounts = R"({"type":"SequenceDense","features":2,"num_steps":64,"name":"sd"})";
const std::string kRglru = R"({"type":"RGLRU","units":2,"num_heads":1,"name":"rg"})";

std::string serial(const std::string& layers) {
  return R"({"type":"Serial","layers":[)" + layers + "]}";
}

// Checks that exactly one difference is announced, that steps show it, and that the rest of the
// contract holds.
void check_one(const Layer& layer, const Expected& expected) {
  const auto differences = layer.step_differences();
  REQUIRE(differences.size() == 1);
  CHECK(std::string(differences[0].type) == expected.type);
  CHECK(std::string(differences[0].layer) == expected.layer);
  CHECK_THAT(differences[0].reason, Contains(expected.part_of_reason));
  CHECK(std::string(differences[0].cure) != "");
  CHECK(differences[0].condition == SL_STEP_DIFFERENCE_ALWAYS);
  const Report report = verify(layer, {2});
  CHECK(report.failures() == "");
  CHECK(report.has_expected());
}

void check_one(const std::string& config, const Expected& expected) {
  INFO(config);
  check_one(make_model(config, 2), expected);
}

// Checks that no difference is announced and that steps give what whole runs give.
void check_none(const std::string& config, const std::vector<int64_t>& channels = {2}) {
  INFO(config);
  const Layer layer = make_model(config, 2);
  for (const sl_step_difference& difference : layer.step_differences())
    CHECK(difference.condition == SL_STEP_DIFFERENCE_HOLES);
  const Report report = verify(layer, channels);
  CHECK(report.failures() == "");
  for (const Check& check : report.checks) {
    if (check.name == "layer = step") CHECK_FALSE(check.is_expected());
  }
}

TEST_CASE("fault 13: the tool expects what the library announces", "[f13]") {
  for (const char* name : {"la_rglru", "la_seqdense", "frame_then_lstm"}) {
    INFO(name);
    const std::string model = fault_input(std::string("models/") + name);
    const ToolRun verified = run_tool({"verify", model, "--time", "21"});
    CHECK(verified.status == 0);
    CHECK_THAT(verified.output, Contains("expected  layer = step"));
    CHECK_THAT(verified.output, Contains("0 failed"));
    CHECK_THAT(verified.output, Contains("steps of this model do not give what whole runs give"));
    const ToolRun shown = run_tool({"info", model});
    CHECK_THAT(shown.output, Contains("steps differ"));
    CHECK_THAT(shown.output, Contains("cure: "));
    CHECK_THAT(run_tool({"info", model, "--json"}).output, Contains("step_differences"));
  }
  const ToolRun shown = run_tool({"info", fault_input("models/frame_then_lstm")});
  CHECK_THAT(shown.output, Contains("explicit_padding_is_same_like"));
}

TEST_CASE("fault 13: a difference has a layer, a reason and a number of steps", "[f13]") {
  check_one(serial(kLate + "," + kRglru), {"RGLRU", "rg", "advances on invalid steps"});
  check_one(serial(kLate + "," + kCounts), {"SequenceDense", "sd", "late by 2 steps"});
  check_one(serial(kDelay + R"(,{"type":"MaskedDense","features":2,"num_steps":64,"name":"md"})"),
            {"MaskedDense", "md", "counts invalid steps"});
  check_one(serial(kDelay + R"(,{"type":"AddTimingSignal","name":"signal",)"
                            R"("only_advance_position_for_valid_timesteps":false})"),
            {"AddTimingSignal", "signal", "counts invalid steps"});
  check_one(serial(kDelay + R"(,{"type":"ConcatTimingSignal","name":"signal","channels":2})"),
            {"ConcatTimingSignal", "signal", "counts invalid steps"});
  check_one(
      serial(
          kLate +
          R"(,{"type":"Conv1D","filters":2,"kernel_size":2,"padding":"causal_valid","name":"next"})"),
      {"Conv1D", "next", "causal_valid"});
  check_one(serial(kValidLate + R"(,{"type":"LSTM","units":2,"name":"lstm"})"),
            {"LSTM", "lstm", "Conv1D \"valid\" makes valid"});
  check_one(serial(R"({"type":"Delay","length":1},{"type":"Lookahead","length":2,"name":"look"})"),
            {"Lookahead", "look", "drop"});
}

TEST_CASE("fault 13: latency adds up through combinators", "[f13]") {
  const std::string late_rglru = kLate + "," + kRglru;
  const auto residual = [](const std::string& body, const std::string& shortcut) {
    return R"({"type":"Residual","name":"res","layers":[)" + body + R"(],"shortcut_layers":[)" +
           shortcut + "]}";
  };
  check_one(residual(late_rglru, kDelay), {"RGLRU", "rg", "late by 2 steps"});
  check_one(serial(residual(kLate, kDelay + "," + kCounts)),
            {"SequenceDense", "res.sd", "late by 2 steps"});
  check_one(serial(residual(kLate, kDelay) + "," + kRglru), {"RGLRU", "rg", "late by 2 steps"});
  // The first repeat has no latency before it, but the second one has.
  const std::string repeated = R"({"type":"Repeat","num_repeats":3,"name":"re","layer":)" +
                               serial(kRglru + "," + kLate) + "}";
  const Tree tree{repeated, {{"", {2, {3}, {}}}}, {2}};
  check_one(make_tree_model(tree, 1), {"RGLRU", "child_layer.rg", "late by 2 steps"});
  check_one(serial(R"({"type":"Parallel","combination":"add","name":"par","layers":[)" + kLate +
                   "," + kDelay + "]}," + kCounts),
            {"SequenceDense", "sd", "late by 2 steps"});
  check_one(serial(kLate + R"(,{"type":"Blockwise","block_size":3,"name":"bw","child_layer":)" +
                   kRglru + "}"),
            {"RGLRU", "bw.rg", "late by 2 steps"});
  // A step is valid only if it is valid in all branches, and those of the delay are not.
  check_none(serial(residual(kValidLate, kDelay) + R"(,{"type":"LSTM","units":2})"));
  check_none(serial(R"({"type":"Parallel","combination":"add","layers":[)" + kValidLate + "," +
                    kDelay + R"(]},{"type":"LSTM","units":2})"));
}

TEST_CASE("fault 13: no false alarms", "[f13]") {
  check_none(serial(kLate + R"(,{"type":"LSTM","units":2})"));
  check_none(serial(kRglru + "," + kCounts + "," + kLate));
  check_none(serial(kLate + R"(,{"type":"AddTimingSignal"})"));
  check_none(
      serial(kLate + R"(,{"type":"Conv1D","filters":2,"kernel_size":3,"padding":"causal"})"));
  // Invalid steps from the first layer keep the early steps of the second one invalid.
  check_none(serial(kLate + "," + kValidLate + R"(,{"type":"LSTM","units":2})"));
  check_none(serial(R"({"type":"Delay","length":2},)" + kRglru));
  check_none(serial(kDelay + R"(,{"type":"Lookahead","length":1})"));
  check_none(R"({"type":"Lookahead","length":1})");
  check_none(R"({"type":"Bidirectional","forward":)" + serial(kLate + "," + kRglru) +
             R"(,"backward":{"type":"LSTM","units":2}})");
  check_none(
      serial(
          R"({"type":"Frame","frame_length":2,"frame_step":1,"padding":[0,1],"explicit_padding_is_same_like":true},)"
          R"({"type":"Flatten"},{"type":"LSTM","units":4})"),
      {});
}

// The backward layer of a Bidirectional runs over the padding of its input first.
TEST_CASE("fault 13: whole runs that depend on the padding are announced", "[f13]") {
  const auto backward = [](const std::string& layer) {
    return R"({"type":"Bidirectional","combination":"concat","forward":{"type":"Relu"},"backward":)" +
           layer + "}";
  };
  const std::pair<std::string, std::string> models[] = {
      {backward(kRglru), "rg"},
      {serial(kLate + "," + backward(serial(R"({"type":"Relu"},)" + kCounts))), "backward.sd"}};
  for (const auto& [config, path] : models) {
    INFO(config);
    const Layer layer = make_model(config, 2);
    const auto differences = layer.step_differences();
    REQUIRE(differences.size() == 1);
    CHECK(differences[0].condition == SL_STEP_DIFFERENCE_PADDING);
    CHECK_THAT(differences[0].layer, Contains(path));
    const Report report = verify(layer, {2});
    CHECK(report.failures() == "");
    CHECK(report.has_expected());
  }
  check_none(backward(R"({"type":"LSTM","units":2})"));
  check_none(R"({"type":"Bidirectional","forward":{"type":"Relu"},"backward":)" +
             backward(R"({"type":"LSTM","units":2})") + R"(,"combination":"concat"})");
}

TEST_CASE("fault 13: attention behind a latency", "[f13]") {
  const auto attention = [](const std::string& fields) {
    return R"({"type":"DotProductSelfAttention","num_heads":1,"units_per_head":2,"max_past_horizon":3,)"
           R"("max_future_horizon":0,"name":"attention")" +
           fields + "}";
  };
  const auto turns = [](const char* network) {
    return R"(,")" + std::string(network) +
           R"(":{"type":"ApplyRotaryPositionalEncoding","max_wavelength":100,"only_advance_position_for_valid_timesteps":false})";
  };
  check_none(serial(kDelay + "," + attention("")));
  check_none(serial(kDelay + "," + attention(turns("query_network") + turns("key_network"))));
  check_one(serial(kDelay + "," + attention(turns("query_network"))),
            {"ApplyRotaryPositionalEncoding", "attention.query_network", "counts invalid steps"});
  check_one(
      serial(
          R"({"type":"Delay","length":1,"delay_layer_output":false},{"type":"BlockwiseDotProductSelfAttention",)"
          R"("num_heads":1,"units_per_head":2,"block_size":2,"max_past_horizon_blocks":1,)"
          R"("max_future_horizon_blocks":0,"name":"blocks"})"),
      {"BlockwiseDotProductSelfAttention", "blocks", "blocks of 2 steps"});
}

TEST_CASE("fault 13: the invalid steps that a Lookahead does not drop are announced", "[f13]") {
  const auto differences = differences_of(R"({"type":"Lookahead","length":2})", 2);
  REQUIRE(differences.size() == 1);
  CHECK(differences[0].condition == SL_STEP_DIFFERENCE_HOLES);
}

// In these trees, layers need not fit the latency before them. All differences must be announced,
// and all announced differences must exist.
TEST_CASE("fault 13: random trees differ exactly where they announce it", "[f13]") {
  int64_t announced = 0;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    const Tree tree = make_careless_tree(seed);
    INFO("seed " << seed << ": " << tree.config);
    const Layer layer = make_tree_model(tree, seed);
    int64_t latency = 0;
    if (sl_layer_output_latency(layer.get(), &latency, nullptr) != SL_STATUS_OK) continue;
    const Report report = verify(layer, tree.channels);
    CHECK(report.failures() == "");
    const auto differences = layer.step_differences();
    const bool is_certain = std::ranges::any_of(differences, [](const auto& difference) {
      return difference.condition == SL_STEP_DIFFERENCE_ALWAYS;
    });
    announced += is_certain;
    if (is_certain) CHECK(report.has_expected());
  }
  CHECK(announced > 10);
}

// A custom layer: each step times its number in the stream, invalid steps counted.
sl_status create_counter(void*, const char*, const sl_weight_source*, void** instance, sl_error*) {
  *instance = nullptr;
  return SL_STATUS_OK;
}
sl_status counter_properties(const void*, sl_layer_properties* properties, sl_error*) {
  properties->counts_invalid_steps = 1;
  properties->reads_invalid_steps = 1;
  return SL_STATUS_OK;
}
sl_status counter_state_size(const void*, const sl_channel_spec*, size_t* bytes, sl_error*) {
  *bytes = sizeof(int64_t);
  return SL_STATUS_OK;
}
sl_status count(const void*, void* state, const sl_sequence* x, sl_sequence* y, sl_error*) {
  const int64_t time = x->dims[1], frame = x->dims[2];
  for (int64_t b = 0; b < x->dims[0]; ++b) {
    auto& steps = static_cast<int64_t*>(state)[b];
    for (int64_t i = 0; i < time * frame; ++i) {
      const int64_t at = b * time * frame + i;
      static_cast<float*>(y->data)[at] =
          static_cast<const float*>(x->data)[at] * static_cast<float>(steps + i / frame);
    }
    steps += time;
  }
  return SL_STATUS_OK;
}
sl_status count_all(const void* instance, const sl_sequence* x, sl_sequence* y, sl_error* error) {
  std::vector<int64_t> state(static_cast<size_t>(x->dims[0]));
  return count(instance, state.data(), x, y, error);
}

TEST_CASE("fault 13: a custom layer can say that it counts invalid steps", "[f13][f12]") {
  sl_layer_callbacks callbacks = SL_LAYER_CALLBACKS_INIT;
  callbacks.create = create_counter;
  callbacks.properties = counter_properties;
  callbacks.state_size = counter_state_size;
  callbacks.layer = count_all;
  callbacks.step = count;
  const CustomType custom("Counter", callbacks);
  const std::string counter = R"({"type":"Counter","name":"counter"})";
  const Layer alone = make_model(counter, 2, &custom.options);
  CHECK(alone.step_differences().empty());
  const Layer late = make_model(serial(kLate + "," + counter), 2, &custom.options);
  check_one(late, {"Counter", "counter", "counts invalid steps"});
}

}  // namespace
}  // namespace sl::testing
