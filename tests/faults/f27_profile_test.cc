// Fault 27: nothing said what each layer of a model costs.
#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/profile.h"
#include "faults/faults.h"
#include "support/models.h"
#include "testing/contract.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

constexpr int64_t kBatch = 2, kTime = 40, kInputs = 6;

// Costs of a layer-wise run of valid steps.
cli::ProfileTable layer_profile(const Layer& layer, const std::vector<int64_t>& dims,
                                sl_dtype dtype = SL_DTYPE_FLOAT32) {
  std::mt19937 rng(1);
  Input input;
  input.x = random_sequence(dtype, dims, rng);
  std::fill(input.x.mask.begin(), input.x.mask.end(), uint8_t{1});
  return cli::profile(0, [&](sl_profile* profile) { apply(layer, input, nullptr, profile); });
}

// As above, of a model whose weights get the last of `dims` where the config leaves a size open.
cli::ProfileTable layer_profile(const std::string& config, const std::vector<int64_t>& dims,
                                sl_dtype dtype = SL_DTYPE_FLOAT32) {
  return layer_profile(make_model(config, dims.back()), dims, dtype);
}

double sum_of_flop(const cli::ProfileTable& table) {
  double flop = 0;
  for (const cli::ProfileRow& row : table.rows) flop += row.flop;
  return flop;
}

double flop_of(const std::string& config,
               const std::vector<int64_t>& dims = {kBatch, kTime, kInputs},
               sl_dtype dtype = SL_DTYPE_FLOAT32) {
  return sum_of_flop(layer_profile(config, dims, dtype));
}

std::string cell(const std::string& fields) {
  return R"({"type":"RNN","cell":{)" + fields + R"(,"features":4}})";
}

TEST_CASE("fault 27: a profile counts operations by the closed form", "[f27]") {
  constexpr double kSteps = kBatch * kTime;
  CHECK(flop_of(R"({"type":"Dense","features":5})") == kSteps * (2 * kInputs + 1) * 5);
  CHECK(flop_of(R"({"type":"Dense","features":5,"use_bias":false})") == kSteps * 2 * kInputs * 5);
  CHECK(flop_of(R"({"type":"Dense","features":5,"activation":"tanh"})") ==
        kSteps * (2 * kInputs + 2) * 5);
  CHECK(flop_of(R"({"type":"Conv1D","filters":7,"kernel_size":3,"activation":"relu"})",
                {kBatch, kTime + 2, kInputs}) == kSteps * (2 * 3 * kInputs + 2) * 7);
  CHECK(flop_of(R"({"type":"Conv1D","filters":7,"kernel_size":3,"padding":"causal"})") ==
        kSteps * (2 * 3 * kInputs + 1) * 7);
  CHECK(flop_of(R"({"type":"LSTM","units":4})") ==
        kSteps * (2 * (kInputs + 4) * 4 * 4 + (4 + 9) * 4));
  CHECK(flop_of(R"({"type":"LSTM","units":4,"use_bias":false})") ==
        kSteps * (2 * (kInputs + 4) * 4 * 4 + 9 * 4));
  CHECK(flop_of(R"({"type":"Tanh"})") == kSteps * kInputs);
}

TEST_CASE("fault 27: pools count an operation for each further input of a window", "[f27]") {
  // Padding "same" makes as many outputs as there are inputs.
  constexpr double kOutputs = kBatch * kTime * kInputs;
  const auto pool = [](const std::string& type) {
    return R"({"type":")" + type + R"(1D","pool_size":5,"padding":"same"})";
  };
  CHECK(flop_of(pool("MaxPooling")) == kOutputs * 4);
  CHECK(flop_of(pool("MinPooling")) == kOutputs * 4);
  CHECK(flop_of(pool("AveragePooling")) == kOutputs * 5);
  CHECK(flop_of(pool("AveragePooling"), {kBatch, kTime, kInputs}, SL_DTYPE_COMPLEX64) ==
        2 * kOutputs * 5);
  CHECK(flop_of(R"({"type":"MaxPooling2D","pool_size":[2,3],"strides":[2,1],)"
                R"("time_padding":"same","spatial_padding":"same"})",
                {kBatch, kTime, 8, kInputs}) == kBatch * kTime / 2 * 8 * kInputs * (2 * 3 - 1));
}

TEST_CASE("fault 27: cells count products, biases, gates and activations", "[f27]") {
  constexpr double kSteps = kBatch * kTime, kUnits = 4;
  const auto products = [](double gates) { return 2 * (kInputs + kUnits) * gates * kUnits; };
  CHECK(flop_of(cell(R"("type":"LSTMCell")")) == kSteps * (products(4) + (4 + 9) * kUnits));
  CHECK(flop_of(cell(R"("type":"SimpleCell")")) == kSteps * (products(1) + (1 + 1) * kUnits));
  CHECK(flop_of(cell(R"("type":"SimpleCell","residual":true)")) ==
        kSteps * (products(1) + (1 + 2) * kUnits));
  CHECK(flop_of(cell(R"("type":"GRUCell")")) == kSteps * (products(3) + (4 + 11) * kUnits));
  CHECK(flop_of(cell(R"("type":"GRUCell","reset_after":false)")) ==
        kSteps * (products(3) + (3 + 11) * kUnits));
  CHECK(flop_of(cell(R"("type":"GRUCell","activation_fn":"relu")")) ==
        kSteps * (products(3) + (4 + 11) * kUnits));
  CHECK(flop_of(cell(R"("type":"MGUCell")")) == kSteps * (products(2) + (3 + 9) * kUnits));
  CHECK(flop_of(cell(R"("type":"MGUCell","reset_gate":false)")) ==
        kSteps * (products(2) + (2 + 8) * kUnits));
  // On 5 positions of 6 channels each, with 3 taps.
  CHECK(flop_of(cell(R"("type":"ConvLSTMCell","kernel_size":[3])"), {kBatch, kTime, 5, kInputs}) ==
        kSteps * 5 * (3 * products(4) + (2 * 4 + 14) * kUnits));
}

TEST_CASE("fault 27: zoneout counts two products and a sum of each number of the carry", "[f27]") {
  constexpr double kSteps = kBatch * kTime, kUnits = 4;
  const auto more = [](const std::string& fields, sl_dtype dtype) {
    const std::vector<int64_t> dims = {kBatch, kTime, kInputs};
    return flop_of("{" + fields + R"(,"zoneout_probability":0.2})", dims, dtype) -
           flop_of("{" + fields + "}", dims, dtype);
  };
  const std::string lstm = R"("type":"LSTM","units":4)";
  CHECK(more(lstm, SL_DTYPE_FLOAT32) == kSteps * 2 * 3 * kUnits);
  CHECK(more(lstm, SL_DTYPE_COMPLEX64) == kSteps * 2 * 2 * 3 * kUnits);
  const auto more_in_cell = [](const std::string& type) {
    const std::string fields = R"("type":")" + type + R"(")";
    return flop_of(cell(fields + R"(,"zoneout_probability":0.2)")) - flop_of(cell(fields));
  };
  CHECK(more_in_cell("GRUCell") == kSteps * 3 * kUnits);
  CHECK(more_in_cell("OptimizedLSTMCell") == kSteps * 2 * 3 * kUnits);
}

TEST_CASE("fault 27: scans count their recurrences", "[f27]") {
  constexpr double kSteps = kBatch * kTime, kStates = 10;
  // Two gates in two heads, each of them a product, a bias and a sigmoid, then ten operations of a
  // unit.
  const double gates = 2 * (2 * kInputs * kInputs / 2.0 + 2 * kInputs);
  const std::string rglru = R"({"type":"RGLRU","units":6,"num_heads":2)";
  CHECK(flop_of(rglru + "}") == kSteps * (gates + 10 * kInputs));
  // Both products with B and C, complex multiply-adds of the states, d u.
  const double shared = 8 * kStates * kInputs + 8 * kStates + kInputs;
  CHECK(flop_of(R"({"type":"LRU","state_size":10})") == kSteps * shared);
  CHECK(flop_of(R"({"type":"S5","state_size":10})") == kSteps * shared);
  CHECK(flop_of(R"({"type":"S4D","state_size":10})") == kSteps * kInputs * (11 * kStates / 2 + 1));
  CHECK(flop_of(R"({"type":"S4","state_size":10,"kernel_length":64})") ==
        kSteps * kInputs * (24 * kStates + 1));
}

TEST_CASE("fault 27: Mamba counts its products, its convolution and its scan", "[f27]") {
  // 40 channels: 80 inner ones, 16 states, 4 taps, and a rank of 3.
  const double products = 2 * (40 * 2 * 80 + 80 * (3 + 2 * 16) + 3 * 80 + 80 * 40);
  // By default the convolution and dt have biases.
  const double biases = 80 + 80;
  const std::string config = R"({"type":"Mamba"})";
  std::mt19937 rng(1);
  const Weights weights =
      make_weights(config, {{"", {40, {}, {}}}, {"out_proj", {40, {}, {40, 80}}}}, rng);
  const Layer layer(config, weights);
  CHECK(sum_of_flop(layer_profile(layer, {kBatch, kTime, 40})) ==
        kBatch * kTime * (products + biases + 80 * (2 * 4 + 7 * 16 + 6)));
}

TEST_CASE("fault 27: biases count one for each output, in every dtype", "[f27]") {
  const std::vector<int64_t> dims = {kBatch, kTime, kInputs};
  const auto biases = [&](const std::string& fields, const std::vector<int64_t>& input,
                          sl_dtype dtype) {
    return flop_of("{" + fields + R"(,"use_bias":true})", input, dtype) -
           flop_of("{" + fields + R"(,"use_bias":false})", input, dtype);
  };
  constexpr double kSteps = kBatch * kTime;
  struct Case {
    std::string fields;
    std::vector<int64_t> input;
    double outputs;   // of a step
    bool is_complex;  // whether it takes complex numbers
  };
  const std::vector<int64_t> plane = {kBatch, kTime, 5, kInputs};
  const std::vector<Case> cases = {
      {R"("type":"Dense","features":7)", dims, 7, true},
      {R"("type":"Conv1D","filters":7,"kernel_size":3,"padding":"causal")", dims, 7, true},
      {R"("type":"DepthwiseConv1D","kernel_size":3,"padding":"causal")", dims, kInputs, false},
      {R"("type":"Conv1DTranspose","filters":7,"kernel_size":2,"strides":2,"padding":"causal")",
       dims, 2 * 7, false},
      {R"("type":"Conv2D","filters":7,"kernel_size":3,"time_padding":"causal",)"
       R"("spatial_padding":"same")",
       plane, 5 * 7, true},
      {R"("type":"LSTM","units":4)", dims, 4 * 4, true},
      {R"("type":"DotProductSelfAttention","num_heads":2,"units_per_head":4,)"
       R"("max_past_horizon":3,"max_future_horizon":0)",
       dims, 3 * 2 * 4, false},
      {R"("type":"SequenceDense","num_steps":40,"features":7)", dims, 7, true},
  };
  CHECK(biases(R"("type":"SeparableConv1D","filters":7,"kernel_size":3,"padding":"causal")", dims,
               SL_DTYPE_FLOAT32) == kSteps * 7);
  for (const Case& one : cases) {
    CAPTURE(one.fields);
    CHECK(biases(one.fields, one.input, SL_DTYPE_FLOAT32) == kSteps * one.outputs);
    CHECK(biases(one.fields + R"(,"compute_dtype":"bfloat16")", one.input, SL_DTYPE_FLOAT32) ==
          kSteps * one.outputs);
    if (!one.is_complex) continue;
    CHECK(biases(one.fields, one.input, SL_DTYPE_COMPLEX64) == kSteps * one.outputs);
  }
}

TEST_CASE("fault 27: a long convolution counts transforms and products of spectra", "[f27]") {
  // Three blocks of 1024 steps, each a transform of 2048 numbers there and back, and 1 + 2 + 3
  // products of spectra of 1025 numbers with the sums between them.
  const double transform = 2.5 * 2048 * 11;
  const double products = (1 + 2 + 3) * 6.0 + (0 + 1 + 2) * 2.0;
  CHECK(flop_of(R"({"type":"S4","state_size":64,"kernel_length":3072})", {2, 3000, 3}) ==
        2 * 3 * (3 * 2 * transform + products * 1025));
}

TEST_CASE("fault 27: spectra count transforms, windows and filters", "[f27]") {
  const double transform = 2.5 * 64 * 6;
  CHECK(flop_of(R"({"type":"STFT","frame_length":60,"frame_step":20,"fft_length":64,)"
                R"("time_padding":"causal"})",
                {2, 400}) == 2 * 400 / 20 * (transform + 64));
  CHECK(flop_of(R"({"type":"RFFT"})", {2, 40, 64}) == 2 * 40 * transform);
  CHECK(flop_of(R"({"type":"FFT"})", {2, 40, 64}) == 2 * 40 * 2 * transform);

  // The filters are what the layer makes of the unit vectors.
  const std::string mel =
      R"({"type":"LinearToMelSpectrogram","num_mel_bins":7,"sample_rate":16000,)"
      R"("lower_edge_hertz":80,"upper_edge_hertz":7600})";
  constexpr int64_t kBins = 33;
  Input units;
  units.x = make_sequence(SL_DTYPE_FLOAT32, {1, kBins, kBins});
  std::vector<float> ones(kBins * kBins);
  for (size_t i = 0; i < kBins; ++i) ones[i * kBins + i] = 1;
  std::memcpy(units.x.bytes.data(), ones.data(), units.x.bytes.size());
  const Tensor filters = apply(make_model(mel), units);
  double weights = 0;
  for (int64_t i = 0; i < filters.size(); ++i) weights += filters.at(i) != 0.0;
  REQUIRE(weights > 20);
  CHECK(flop_of(mel, {kBatch, kTime, kBins}) == kBatch * kTime * 2 * weights);
}

TEST_CASE("fault 27: a profile has every layer by its path", "[f27]") {
  const cli::ProfileTable table = layer_profile(
      R"({"type":"Serial","layers":[{"type":"Residual","layers":[{"type":"Dense","features":6,)"
      R"("name":"inner"}],"name":"skip"},{"type":"LSTM","units":4,"name":"memory"}]})",
      {kBatch, kTime, kInputs});
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

TEST_CASE("fault 27: a profile says which layer does the work of another one", "[f27]") {
  const cli::ProfileTable table = layer_profile(
      R"({"type":"Serial","layers":[{"type":"Serial","layers":[)"
      R"({"type":"Conv1D","filters":6,"kernel_size":3,"padding":"causal","name":"conv"},)"
      R"({"type":"BatchNormalization","name":"norm"},{"type":"Relu","name":"relu"}],)"
      R"("name":"block"},{"type":"Tanh","name":"end"}]})",
      {kBatch, kTime, 6});
  std::map<std::string, cli::ProfileRow> rows;
  for (const cli::ProfileRow& row : table.rows) rows[row.path] = row;
  for (const auto& [name, flop] : {std::pair{"block.norm", 3}, {"block.relu", 1}}) {
    const cli::ProfileRow& row = rows.at(name);
    CHECK(row.folded_into == "block.conv");
    CHECK(row.calls == 1);
    CHECK(row.self_micros == 0);
    CHECK(row.flop == flop * kBatch * kTime * 6);
  }
  // The products and the convolution's own bias.
  CHECK(rows.at("block.conv").flop == kBatch * kTime * 6 * (2 * 6 * 3 + 1));
  CHECK(rows.at("block.conv").self_micros > 0);
  CHECK_FALSE(rows.at("block.conv").folded_into);
  CHECK_FALSE(rows.at("end").folded_into);
}

TEST_CASE("fault 27: the layers' own times add up to the run's", "[f27]") {
  const cli::ProfileTable table = layer_profile(
      R"({"type":"Serial","layers":[{"type":"LSTM","units":96},{"type":"Dense","features":96},)"
      R"({"type":"Residual","layers":[)"
      R"({"type":"Conv1D","filters":96,"kernel_size":5,"padding":"causal"}]}]})",
      {kBatch, kTime, 96});
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

// Rows of the layers by path, each with calls, operations and bytes.
std::map<std::string, std::vector<double>> rows_of(const cli::ProfileTable& table) {
  std::map<std::string, std::vector<double>> rows;
  for (const cli::ProfileRow& row : table.rows) rows[row.path] = {row.calls, row.flop, row.bytes};
  return rows;
}

TEST_CASE("fault 27: a run that continues a stream is recorded as its steps are", "[f27]") {
  const Layer layer =
      make_model(R"({"type":"Serial","layers":[{"type":"Dense","features":6,"name":"first"},)"
                 R"({"type":"LSTM","units":4,"name":"memory"}]})",
                 kInputs);
  std::mt19937 rng(1);
  const Tensor input = random_sequence(SL_DTYPE_FLOAT32, {kBatch, kTime, kInputs}, rng);
  const sl_sequence x = input.view();
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.batch = kBatch;
  options.max_steps = kTime;
  options.input = channel_spec(input);
  const State state(layer, options);
  Tensor output = make_sequence(SL_DTYPE_FLOAT32, {kBatch, kTime, 4});
  Tensor expected = output;
  sl_sequence y = output.view(), want = expected.view();
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  const auto steps = rows_of(cli::profile(0, [&](sl_profile* profile) {
    run.profile = profile;
    check([&](sl_error* e) { return sl_state_reset(state.get(), e); });
    check([&](sl_error* e) { return sl_layer_step(layer.get(), state.get(), &x, &want, &run, e); });
  }));
  run.state = state.get();
  const auto whole = rows_of(cli::profile(0, [&](sl_profile* profile) {
    run.profile = profile;
    check([&](sl_error* e) { return sl_state_reset(state.get(), e); });
    check([&](sl_error* e) { return sl_layer_apply(layer.get(), &x, &y, &run, e); });
  }));
  REQUIRE(whole.size() == 3);
  CHECK(whole.at("first")[1] == (2.0 * kInputs + 1) * kBatch * kTime * 6);
  CHECK(whole == steps);
  CHECK(output.bytes == expected.bytes);
}

TEST_CASE("fault 27: a decoder's runs are recorded", "[f27]") {
  const Layer layer = make_model(
      R"({"type":"Serial","layers":[{"type":"Embedding","dimension":3,"num_embeddings":5},)"
      R"({"type":"Dense","features":5,"name":"logits"}]})",
      3);
  sl_decoder_options options = SL_DECODER_OPTIONS_INIT;
  sl_decoder* made = nullptr;
  check([&](sl_error* e) { return sl_decoder_create(layer.get(), &options, &made, e); });
  const std::unique_ptr<sl_decoder, void (*)(sl_decoder*)> decoder(made, sl_decoder_free);
  Tensor prompt = make_sequence(SL_DTYPE_INT32, {1, 7});
  Tensor scores = make_sequence(SL_DTYPE_FLOAT32, {1, 7});
  const sl_sequence tokens = prompt.view();
  sl_sequence log_probs = scores.view();
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  const auto flop_per_run = [&](auto&& call) {
    const auto rows = rows_of(cli::profile(0, [&](sl_profile* profile) {
      run.profile = profile;
      check(call);
    }));
    return rows.at("logits")[1];
  };
  int32_t token = 0;
  CHECK(flop_per_run([&](sl_error* e) {
          return sl_decoder_sample(decoder.get(), &token, nullptr, nullptr, &run, e);
        }) == (2 * 3 + 1) * 5);
  CHECK(flop_per_run([&](sl_error* e) {
          return sl_decoder_prefill(decoder.get(), &tokens, &run, e);
        }) == 7 * (2 * 3 + 1) * 5);
  CHECK(flop_per_run([&](sl_error* e) {
          return sl_decoder_log_prob(decoder.get(), &tokens, &log_probs, &run, e);
        }) == 7 * (2 * 3 + 1) * 5);
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
