// Tests combinators beyond the recorded cases: many children, deep nesting, metadata of models that
// cannot step.
#include <catch2/catch.hpp>

#include "support/models.h"
#include "testing/contract.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

std::string repeated(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += (i > 0 ? "," : "") + text;
  return out;
}

std::string failures(const Layer& layer, std::vector<int64_t> dims) {
  std::mt19937 rng(1);
  Case c;
  c.layer = &layer;
  c.input.x = random_sequence(SL_DTYPE_FLOAT32, dims, rng);
  return check_contract(c).failures();
}

TEST_CASE("any number of outputs can be combined", "[combinators]") {
  for (const char* combination : {"stack", "concat", "add", "mean"}) {
    INFO(combination);
    const std::string end = std::string(R"(,"combination":")") + combination + R"("})";
    const Layer parallel = make_model(R"({"type":"Parallel","layers":[)" +
                                      repeated(R"({"type":"Relu"})", 100) + "]" + end);
    CHECK(failures(parallel, {2, 7, 3}) == "");
    const Layer channels =
        make_model(R"({"type":"ParallelChannels","num_groups":100,"child_layer":{"type":"Conv1D",)"
                   R"("filters":2,"kernel_size":3,"padding":"causal"})" +
                       end,
                   3);
    CHECK(failures(channels, {2, 7, 300}) == "");
  }
}

TEST_CASE("deep trees compute each property once per layer", "[combinators]") {
  for (const char* type : {"Parallel", "Serial", "Residual"}) {
    INFO(type);
    std::string config = R"({"type":"Relu"})";
    for (int i = 0; i < 31; ++i)
      config = std::string(R"({"type":")") + type + R"(","layers":[)" + config + "]}";
    if (std::string(type) == "Parallel") {
      size_t at = 0;
      while ((at = config.find(R"("layers":)", at)) != std::string::npos) {
        config.insert(at, R"("combination":"add",)");
        at += 30;
      }
    }
    const Layer layer = make_model(config);
    CHECK(sl_layer_receptive_field_count(layer.get(), nullptr) == 1);
    CHECK(failures(layer, {1, 5, 2}) == "");
  }
}

TEST_CASE("a Residual adds its input in the memory of its layers' output", "[combinators]") {
  const int64_t time = 10000, channels = 16;
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.max_bytes = time * channels * int64_t{sizeof(float)} * 3 / 2;
  const Layer layer = make_model(R"({"type":"Residual","layers":[{"type":"Relu"}]})", 1, &options);
  std::mt19937 rng(1);
  const Input input{random_sequence(SL_DTYPE_FLOAT32, {1, time, channels}, rng), {}};
  const Tensor y = apply(layer, input);
  int64_t equal = 0;
  for (int64_t i = 0; i < y.size(); ++i) {
    const double x = input.x.at(i).real();
    equal += y.at(i).real() == (x > 0 ? 2 * x : x);
  }
  CHECK(equal == time * channels);
}

TEST_CASE("receptive fields of a chain repeat after whole cycles of all layers", "[combinators]") {
  const Layer layer = make_model(
      R"({"type":"Serial","layers":[{"type":"Serial","layers":[{"type":"AveragePooling1D",)"
      R"("pool_size":2,"strides":2,"padding":"causal"},{"type":"Upsample1D","rate":2}]},)"
      R"({"type":"Upsample1D","rate":2}]})");
  // Output steps 2 and 3, at input step 1, are the mean of input steps -1 and 0.
  CHECK(sl_layer_receptive_field_count(layer.get(), nullptr) == 4);
  std::mt19937 rng(1);
  Case c;
  c.layer = &layer;
  c.input.x = random_sequence(SL_DTYPE_FLOAT32, {1, 8, 2}, rng);
  c.probe_receptive_field = true;
  CHECK(check_contract(c).failures() == "");
}

TEST_CASE("a Bidirectional that halves the rate gives the model a block size of 2",
          "[combinators]") {
  const std::string strided =
      R"({"type":"Conv1D","filters":2,"kernel_size":2,"strides":2,"padding":"causal"})";
  const Layer layer =
      make_model(R"({"type":"Serial","layers":[{"type":"Bidirectional","forward":)" + strided +
                     R"(,"backward":)" + strided + R"(,"combination":"add"},{"type":"Relu"}]})",
                 2);
  int64_t block = 0;
  check([&](sl_error* e) { return sl_layer_block_size(layer.get(), &block, e); });
  CHECK(block == 2);
}

TEST_CASE("a layer in a Bidirectional that keeps it from stepping is named", "[combinators]") {
  const Layer layer =
      make_model(R"({"type":"Serial","layers":[{"type":"Bidirectional","name":"both",)"
                 R"("forward":{"type":"Relu"},"backward":{"type":"Tanh"}}]})");
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.batch = 1;
  options.input.rank = 1;
  options.input.dims[0] = 2;
  const Failure failure = failure_of([&](sl_error* e) {
    sl_state* state = nullptr;
    return sl_state_alloc(layer.get(), &options, &state, e);
  });
  CHECK(failure.status == SL_STATUS_UNSUPPORTED);
  CHECK_THAT(failure.message, Contains(R"(Bidirectional "both")"));
}

TEST_CASE("a combinator's errors about its input name the combinator", "[combinators]") {
  const auto message = [](const std::string& config, std::vector<int64_t> dims) {
    const Layer layer = make_model(config);
    sl_channel_spec input = SL_CHANNEL_SPEC_INIT, output = SL_CHANNEL_SPEC_INIT;
    input.rank = static_cast<int32_t>(dims.size());
    std::copy(dims.begin(), dims.end(), input.dims);
    const Failure failure = failure_of([&](sl_error* e) {
      return sl_layer_output_spec(layer.get(), &input, nullptr, 0, &output, e);
    });
    CHECK(failure.status == SL_STATUS_SHAPE);
    return failure.message;
  };
  const std::string groups =
      R"({"type":"ParallelChannels","num_groups":2,"child_layer":{"type":"Relu"}})";
  CHECK_THAT(message(groups, {3}), Contains("multiple of num_groups, 2"));
  CHECK_THAT(message(groups, {}), Contains("multiple of num_groups, 2"));
  const std::string skip = R"({"type":"Skip","layer":{"type":"Flatten"}})";
  CHECK_THAT(message(skip, {2, 3}), Contains("Skip \"$\""));
  CHECK_THAT(message(R"({"type":"Skip","layer":{"type":"Relu"}})", {}), Contains("Skip \"$\""));
  const auto autoregressive = [](const std::string& rest) {
    return R"({"type":"Autoregressive","layer":)" + rest + "}";
  };
  CHECK_THAT(message(autoregressive(R"({"type":"Relu"})"), {3}), Contains("expected the same"));
  CHECK_THAT(message(autoregressive(R"({"type":"Mean","axis":-1})"), {}), Contains("Mean"));
  CHECK_THAT(message(autoregressive(R"([{"type":"Mean","axis":-1}])"), {2, 3}),
             Contains("it feeds float32[2] back beside float32[2, 3]"));
}

TEST_CASE("an Autoregressive accepts only layers whose output can be fed back", "[combinators]") {
  const auto message = [](const std::string& rest) {
    sl_layer* layer = nullptr;
    const std::string config = R"({"type":"Autoregressive","layer":)" + rest + "}";
    const Failure failure = failure_of([&](sl_error* e) {
      return sl_layer_create(config.data(), config.size(), nullptr, nullptr, &layer, e);
    });
    sl_layer_free(layer);
    CHECK(failure.status == SL_STATUS_CONFIG);
    return failure.message;
  };
  CHECK_THAT(message("null"), Contains("layer"));
  CHECK_THAT(message(R"({"type":"Lookahead","length":1})"), Contains("without latency"));
  CHECK_THAT(message(R"({"type":"ReverseSequence"})"), Contains("step-wise"));
  CHECK_THAT(message(R"({"type":"Upsample1D","rate":2})"), Contains("they make 2 from 1"));
  CHECK_THAT(message(R"({"type":"Relu"},"feedback_layer":{"type":"Upsample1D","rate":2})"),
             Contains("a feedback layer of output ratio 1"));
  CHECK_THAT(message(R"({"type":"Conditioning","conditioning_name":"c","projection":"identity",)"
                     R"("combination":"add","streaming":true})"),
             Contains("streamed"));
  // Each Autoregressive would compute the properties of the next one twice.
  std::string deep = R"({"type":"Mean","axis":-1})";
  for (int i = 0; i < 30; ++i) deep = R"({"type":"Autoregressive","layer":)" + deep + "}";
  CHECK_THAT(message(deep), Contains("another Autoregressive"));
}

TEST_CASE("Autoregressive layers can be nested, and run in several blocks", "[combinators]") {
  const std::string dense = R"({"type":"Dense","features":1})";
  const Layer nested = make_model(
      R"({"type":"Autoregressive","layer":{"type":"Autoregressive","layer":)" + dense + "}}", 5);
  CHECK(failures(nested, {3, 9, 3}) == "");
  const Layer blocks = make_model(
      R"({"type":"Autoregressive","layer":[{"type":"Blockwise","block_size":4,"child_layer":)" +
          dense +
          R"(}],"feedback_layer":{"type":"MaxPooling1D","pool_size":3,"padding":"causal"}})",
      3);
  CHECK(failures(blocks, {3, 18, 2}) == "");
}

}  // namespace
}  // namespace sl::testing
