// Fault 27: nothing said what each layer of a model costs.
#include <catch2/catch.hpp>
#include <chrono>
#include <nlohmann/json.hpp>

#include "cli/profile.h"
#include "faults/faults.h"
#include "support/models.h"
#include "testing/contract.h"

namespace sl::testing {
namespace {

constexpr int64_t kBatch = 2, kTime = 40, kInputs = 6;

// Costs of a layer-wise run of [kBatch, kTime, inputs].
cli::ProfileTable layer_profile(const std::string& config, int64_t inputs = kInputs) {
  const Layer layer = make_model(config, inputs);
  std::mt19937 rng(1);
  const Tensor input = random_sequence(SL_DTYPE_FLOAT32, {kBatch, kTime, inputs}, rng);
  const sl_sequence x = input.view();
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  sl_sequence shape = SL_SEQUENCE_INIT;
  check([&](sl_error* e) {
    return sl_layer_output_shape(layer.get(), SL_MODE_LAYER, &x, &run, &shape, e);
  });
  const Tensor output = make_like(shape);
  sl_sequence y = output.view();
  return cli::profile(0, [&](sl_profile* profile) {
    run.profile = profile;
    check([&](sl_error* e) { return sl_layer_apply(layer.get(), &x, &y, &run, e); });
  });
}

double flop_of(const std::string& config) {
  double flop = 0;
  for (const cli::ProfileRow& row : layer_profile(config).rows) flop += row.flop;
  return flop;
}

TEST_CASE("fault 27: a profile counts operations by the closed form", "[f27]") {
  constexpr double kSteps = kBatch * kTime;
  CHECK(flop_of(R"({"type":"Dense","features":5})") == kSteps * 2 * kInputs * 5);
  CHECK(flop_of(R"({"type":"Conv1D","filters":7,"kernel_size":3,"padding":"causal"})") ==
        kSteps * 2 * 3 * kInputs * 7);
  CHECK(flop_of(R"({"type":"LSTM","units":4})") == kSteps * (2 * (kInputs + 4) * 4 * 4 + 9 * 4));
  CHECK(flop_of(R"({"type":"Tanh"})") == kSteps * kInputs);
}

TEST_CASE("fault 27: a profile has every layer by its path", "[f27]") {
  const cli::ProfileTable table = layer_profile(
      R"({"type":"Serial","layers":[{"type":"Residual","layers":[{"type":"Dense","features":6,)"
      R"("name":"inner"}],"name":"skip"},{"type":"LSTM","units":4,"name":"memory"}]})");
  REQUIRE(table.rows.size() == 4);
  CHECK(table.rows[0].path.empty());
  CHECK(table.rows[0].type == "Serial");
  CHECK(table.rows[1].path == "skip");
  CHECK(table.rows[2].path == "skip.inner");
  CHECK(table.rows[2].calls == 1);
  // Weights, which other tests' formats may pad, input and output.
  CHECK(table.rows[2].bytes == 4.0 * (kInputs * 6 + 2 * kBatch * kTime * kInputs));
  CHECK(table.rows[3].path == "memory");
}

TEST_CASE("fault 27: the layers' own times add up to the run's", "[f27]") {
  const cli::ProfileTable table = layer_profile(
      R"({"type":"Serial","layers":[{"type":"LSTM","units":96},{"type":"Dense","features":96},)"
      R"({"type":"Residual","layers":[)"
      R"({"type":"Conv1D","filters":96,"kernel_size":5,"padding":"causal"}]}]})",
      96);
  double sum = 0;
  for (const cli::ProfileRow& row : table.rows) sum += row.self_micros;
  // The rest is what the call itself takes beside the model.
  CHECK(sum <= table.whole_micros);
  CHECK(sum > 0.95 * table.whole_micros);
}

TEST_CASE("fault 27: sl bench prints a profile", "[f27]") {
  const ToolRun run = run_tool({"bench", fault_input("models/la_rglru"), "--profile", "--seconds",
                                "0.01", "--time", "8", "--json"});
  INFO(run.output);
  REQUIRE(run.status == 0);
  // After the warning that the steps of this model differ.
  const auto json = nlohmann::json::parse(run.output.substr(run.output.find("{\n")));
  CHECK(json["profile"]["layer"]["layers"].size() > 0);
  CHECK(json["profile"]["step"]["layers"][0]["self_us"] > 0);
}

TEST_CASE("fault 27: recording changes no result", "[f27]") {
  const Layer layer = make_model(R"({"type":"LSTM","units":4})", kInputs);
  std::mt19937 rng(1);
  Input input;
  input.x = random_sequence(SL_DTYPE_FLOAT32, {kBatch, kTime, kInputs}, rng);
  const Tensor expected = apply(layer, input);
  const sl_sequence x = input.x.view();
  Tensor output = expected;
  std::fill(output.bytes.begin(), output.bytes.end(), uint8_t{0});
  sl_sequence y = output.view();
  sl_profile* profile = nullptr;
  REQUIRE(sl_profile_create(&profile, nullptr) == SL_STATUS_OK);
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  run.profile = profile;
  CHECK(sl_layer_apply(layer.get(), &x, &y, &run, nullptr) == SL_STATUS_OK);
  CHECK(output.bytes == expected.bytes);
  sl_profile_free(profile);
}

}  // namespace
}  // namespace sl::testing
