// Fault 15: a model that cannot run step-wise did not say why, or what to change.
#include <catch2/catch.hpp>
#include <fstream>

#include "faults/faults.h"
#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

struct Sample {
  std::string config;
  std::vector<int64_t> channels;
  std::string message;
};

Failure alloc_failure(const std::string& config, const std::vector<int64_t>& channels,
                      int64_t max_length = 0) {
  const Layer layer = make_model(config, channels.empty() ? 1 : channels.back());
  CHECK(!layer.supports_step());
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.input.dtype = SL_DTYPE_FLOAT32;
  options.input.rank = static_cast<int32_t>(channels.size());
  std::copy(channels.begin(), channels.end(), options.input.dims);
  options.max_length = max_length;
  sl_state* state = nullptr;
  return failure_of([&](sl_error* e) { return sl_state_alloc(layer.get(), &options, &state, e); });
}

std::string convolution(const char* kernel_and_padding) {
  return std::string(R"({"type":"Conv1D","filters":2,)") + kernel_and_padding + "}";
}

std::string in_serial(const std::string& layer, const char* name) {
  const std::string inner = layer.substr(0, layer.size() - 1) + R"(,"name":")" + name + "\"}";
  return R"({"type":"Serial","layers":[{"type":"Relu"},{"type":"Serial","name":"encoder","layers":[)" +
         inner + "]}]}";
}

TEST_CASE("fault 15: a convolution says why it cannot step, and which padding can", "[f15]") {
  const Sample samples[] = {
      {convolution(R"("kernel_size":3,"padding":"valid")"),
       {4},
       "Conv1D cannot run step-wise: padding \"valid\" makes fewer steps than a stream must: use "
       "\"reverse_causal_valid\", which makes the same ones 2 steps later"},
      {convolution(R"("kernel_size":1,"padding":"valid")"),
       {4},
       "Conv1D cannot run step-wise: padding \"valid\" does not step, not even with a kernel of 1: "
       "use \"causal\", which is then the same"},
      {convolution(R"("kernel_size":3,"dilation_rate":2,"padding":"same")"),
       {4},
       "Conv1D cannot run step-wise: padding \"same\" does not step: use \"causal\", which sees no "
       "step of the future, or \"reverse_causal\", which waits for 4; [2, 2] makes the same steps "
       "2 "
       "later"},
      {in_serial(R"({"type":"Conv2D","filters":2,"kernel_size":[1,3],"time_padding":"valid"})",
                 "conv"),
       {6, 4},
       "Serial cannot run step-wise: its Conv2D \"encoder.conv\" cannot: time_padding \"valid\" "
       "does "
       "not step, not even with a kernel of 1: use \"causal\", which is then the same"},
      {R"({"type":"Conv1DTranspose","filters":2,"kernel_size":5,"strides":2,"padding":"valid"})",
       {4},
       "Conv1DTranspose cannot run step-wise: padding \"valid\" does not step: use \"causal\", the "
       "same but for the last 3 steps, which come after the end"},
  };
  for (const Sample& sample : samples) {
    INFO(sample.config);
    const Failure failure = alloc_failure(sample.config, sample.channels);
    CHECK(failure.status == SL_STATUS_UNSUPPORTED);
    CHECK(failure.message == sample.message);
  }
}

// The error texts name paddings that give equal outputs.
TEST_CASE("fault 15: paddings that messages call equal give equal outputs", "[f15]") {
  const auto padded = [](const std::string& config, const char* padding) {
    std::string out = config;
    const size_t at = out.find("PADDING");
    return out.replace(at, 7, padding);
  };
  const std::string of_one = convolution(R"("kernel_size":1,"strides":3,"padding":"PADDING")");
  const std::string of_three = convolution(R"("kernel_size":3,"strides":2,"padding":"PADDING")");
  const std::string transposed =
      R"({"type":"Conv1DTranspose","filters":2,"kernel_size":5,"strides":2,"padding":"PADDING"})";
  std::mt19937 rng(5);
  const Input input{random_sequence(SL_DTYPE_FLOAT32, {3, 17, 4}, rng), {}};
  const auto run = [&](const std::string& config, const char* padding) {
    return apply(make_model(padded(config, padding), 4), input);
  };
  for (const char* padding : {"valid", "same"}) {
    const auto equal = compare_tensors(run(of_one, padding), run(of_one, "causal"), {0, 0});
    CHECK(equal.reason == "");
  }
  CHECK(compare_sequences(run(of_three, "valid"), run(of_three, "reverse_causal_valid"), {0, 0})
            .reason == "");
  const Tensor causal = run(transposed, "causal"), valid = run(transposed, "valid");
  CHECK(valid.time() == causal.time() + 3);
  for (int64_t i = 0; i < 15 * 2 * 2; ++i) CHECK(valid.at(i) == causal.at(i));
}

TEST_CASE("fault 15: every layer that does not step says what to change", "[f15]") {
  const Sample samples[] = {
      {R"({"type":"MaxPooling1D","pool_size":3,"padding":"causal_valid"})", {4}, "use \"causal\""},
      {R"({"type":"AveragePooling2D","pool_size":[2,1],"time_padding":"semicausal_full"})",
       {4, 2},
       "use \"semicausal\""},
      {R"({"type":"STFT","frame_length":4,"frame_step":2,"fft_length":4,"time_padding":"valid"})",
       {},
       "time_padding \"valid\""},
      {R"({"type":"Frame","frame_length":4,"frame_step":2,"padding":"same"})",
       {},
       "reverse_causal"},
      {R"({"type":"OverlapAdd","frame_length":4,"frame_step":2})", {4}, "use \"causal\""},
      {R"({"type":"InverseSTFT","frame_length":4,"frame_step":2,"fft_length":4,)"
       R"("time_padding":"valid"})",
       {3},
       "use \"causal\""},
      {R"({"type":"SqueezeTime","factor":2,"padding":"valid"})", {4}, "only \"causal\" steps"},
      {R"({"type":"GroupNormalization","num_groups":2})", {4}, "set \"cumulative\": true"},
      {R"({"type":"InstanceNormalization"})", {4}, "use GroupNormalization"},
      {R"({"type":"ReverseSequence"})", {4}, "run it layer-wise"},
      {R"({"type":"RNN","reverse":true,"cell":{"type":"LSTMCell","features":3}})",
       {4},
       "set \"reverse\": false"},
      {R"({"type":"Bidirectional","forward":{"type":"Relu"},"backward":{"type":"Relu"}})",
       {4},
       "use its forward layer alone"},
      {R"({"type":"DotProductSelfAttention","num_heads":1,"units_per_head":4,)"
       R"("max_past_horizon":2,"max_future_horizon":-1})",
       {4},
       "set \"max_future_horizon\" to 0"},
      {R"({"type":"BlockwiseDotProductSelfAttention","num_heads":1,"units_per_head":4,)"
       R"("block_size":2,"max_past_horizon_blocks":1,"max_future_horizon_blocks":-1})",
       {4},
       "set \"max_future_horizon_blocks\" to 0"},
  };
  for (const Sample& sample : samples) {
    for (const int64_t max_length : {0, 16}) {
      INFO(sample.config << " for " << max_length);
      const Failure failure = alloc_failure(sample.config, sample.channels, max_length);
      CHECK(failure.status == SL_STATUS_UNSUPPORTED);
      CHECK_THAT(failure.message, Contains(" cannot run step-wise: ") && Contains(sample.message));
    }
  }
}

TEST_CASE("fault 15: attention to all of the past asks for max_length, by its path", "[f15]") {
  const std::string config = in_serial(
      R"({"type":"DotProductSelfAttention","num_heads":1,"units_per_head":4,"max_past_horizon":-1})",
      "self");
  CHECK_THAT(alloc_failure(config, {4}).message,
             Contains("options.max_length") && Contains("\"encoder.self\" keeps all of them"));
}

TEST_CASE("fault 15: sl info says why a model does not step", "[f15]") {
  const std::string directory = scratch_directory();
  std::ofstream(directory + "/config.json")
      << R"({"type":"Serial","layers":[{"type":"Relu"},{"type":"ReverseSequence"}]})";
  CHECK_THAT(run_tool({"info", directory, "--input", "4"}).output,
             Contains("supports step    false: its ReverseSequence \"layers_1\" cannot"));
}

}  // namespace
}  // namespace sl::testing
