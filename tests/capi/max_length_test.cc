// Tests streams with a maximum length: layers that see all of the past can step in them, but no
// further.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/contract.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

constexpr const char* kSelfAttention =
    R"({"type":"DotProductSelfAttention","name":"self","num_heads":2,"units_per_head":4,)"
    R"("max_past_horizon":-1})";

std::string serial(const std::string& layers) {
  return R"({"type":"Serial","layers":[)" + layers + "]}";
}

// A transformer block behind a convolution with stride 2: the stream takes blocks of 2 steps, and
// has half as many keys.
const std::string kTransformer =
    serial(R"({"type":"Conv1D","filters":8,"kernel_size":3,"strides":2,"padding":"causal"},)"
           R"({"type":"Residual","layers":[)" +
           std::string(kSelfAttention) +
           R"(,{"type":"Flatten"},{"type":"Dense","features":8,"name":"out"}]})");

Input input_for(std::vector<int64_t> dims, uint32_t seed = 1) {
  std::mt19937 rng(seed);
  return {random_sequence(SL_DTYPE_FLOAT32, std::move(dims), rng), {}};
}

sl_state_options options_for(const Input& input, int64_t max_length) {
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.batch = input.x.batch();
  options.input = channel_spec(input.x);
  options.max_length = max_length;
  return options;
}

Failure alloc_failure(const sl_layer* layer, const sl_state_options& options) {
  sl_state* state = nullptr;
  const Failure failure =
      failure_of([&](sl_error* e) { return sl_state_alloc(layer, &options, &state, e); });
  sl_state_free(state);
  return failure;
}

std::vector<uint8_t> save(const sl_state* state) {
  std::vector<uint8_t> bytes(sl_state_save_size(state));
  check([&](sl_error* e) { return sl_state_save(state, bytes.data(), bytes.size(), e); });
  return bytes;
}

// Runs the steps [begin, end) of x on the stream, in one step or in one layer-wise run.
Failure run(const sl_layer* layer, sl_state* state, const Tensor& x, int64_t begin, int64_t end,
            bool in_one_call, Tensor* y) {
  const Tensor part = slice_time(x, begin, end);
  const sl_sequence in = part.view();
  sl_sequence shape = SL_SEQUENCE_INIT;
  check([&](sl_error* e) {
    return sl_layer_output_shape(layer, SL_MODE_STEP, &in, nullptr, &shape, e);
  });
  *y = make_like(shape);
  sl_sequence out = y->view();
  sl_run_options options = SL_RUN_OPTIONS_INIT;
  options.state = state;
  return failure_of([&](sl_error* e) {
    return in_one_call ? sl_layer_apply(layer, &in, &out, &options, e)
                       : sl_layer_step(layer, state, &in, &out, nullptr, e);
  });
}

TEST_CASE("layers that see all of the past keep the contract in streams with max_length",
          "[max_length]") {
  const std::string with_fields =
      std::string(kSelfAttention).substr(0, std::strlen(kSelfAttention) - 1);
  const std::string rotary = R"({"type":"ApplyRotaryPositionalEncoding","max_wavelength":100})";
  const std::string configs[] = {
      kSelfAttention,
      kTransformer,
      with_fields + R"(,"max_future_horizon":2,"num_sink_embeddings":2})",
      with_fields + R"(,"relative_position_embedding":{"type":"T5RelativePositionEmbedding",)"
                    R"("num_buckets":8,"num_heads":2,"bidirectional":false,"max_distance":9}})",
      with_fields + R"(,"relative_position_embedding":{"type":"ShawRelativePositionEmbedding",)"
                    R"("max_backward":5,"max_forward":0,"num_heads":2,"units_per_head":4}})",
      with_fields + R"(,"query_network":)" + rotary + R"(,"key_network":)" + rotary + "}",
      R"({"type":"BlockwiseDotProductSelfAttention","num_heads":2,"units_per_head":4,)"
      R"("block_size":3,"max_past_horizon_blocks":-1,"max_future_horizon_blocks":1})",
      R"({"type":"Blockwise","block_size":3,"child_layer":)" + std::string(kSelfAttention) + "}",
      R"({"type":"Parallel","combination":"add","layers":[)" + std::string(kSelfAttention) +
          R"(,{"type":"DotProductSelfAttention","num_heads":2,"units_per_head":4,)"
          R"("max_past_horizon":3,"name":"window"}]})",
  };
  for (const std::string& config : configs) {
    INFO(config);
    const Layer layer = make_model(config, 8);
    CHECK(!layer.supports_step());
    Case c;
    c.layer = &layer;
    c.input = input_for({3, 19, 8});
    c.tolerance = {1e-5, 1e-5};
    const Report report = check_contract(c);
    CHECK(report.failures() == "");
    CHECK(std::ranges::count(report.checks, "layer = step", &Check::name) == 1);
  }
}

TEST_CASE("segment ids in a constant work in streams with max_length", "[max_length]") {
  const Layer layer =
      make_model(R"({"type":"DotProductSelfAttentionV2","num_heads":2,"units_per_head":4,)"
                 R"("max_past_horizon":-1,"position_name":"place","segment_ids_name":"segment"})",
                 8);
  Case c;
  c.layer = &layer;
  c.input = input_for({2, 12, 8});
  c.tolerance = {1e-5, 1e-5};
  for (const char* name : {"place", "segment"}) {
    Tensor numbers = make_sequence(SL_DTYPE_INT32, {2, 12});
    for (int64_t i = 0; i < numbers.size(); ++i)
      numbers.set(i, static_cast<double>(name[0] == 'p' ? i % 12 : i / 5));
    numbers.is_array = true;
    numbers.mask.clear();
    c.input.constants.push_back({name, numbers});
  }
  c.test_padding_invariance = false;  // steps of padding after the input have no segment ids
  c.test_batching = false;
  const Report report = check_contract(c);
  CHECK(report.failures() == "");
  CHECK(std::ranges::count(report.checks, "layer = step", &Check::name) == 1);
}

TEST_CASE("a missing or invalid max_length is an error that says what to set", "[max_length]") {
  const Input input = input_for({1, 8, 8});
  const Layer alone = make_model(kSelfAttention, 8), layer = make_model(kTransformer, 8);
  Failure failure = alloc_failure(alone.get(), options_for(input, 0));
  CHECK(failure.status == SL_STATUS_UNSUPPORTED);
  CHECK(
      failure.message ==
      "DotProductSelfAttention cannot run step-wise without options.max_length, the maximum number "
      "of steps of the stream: it keeps all of them");
  CHECK_THAT(alloc_failure(layer.get(), options_for(input, 0)).message,
             Contains("Serial cannot run step-wise without options.max_length") &&
                 Contains("its DotProductSelfAttention \"layers_1.self\" keeps all of them"));
  for (const int64_t bad : {int64_t{-1}, int64_t{1} << 31, INT64_MAX}) {
    failure = alloc_failure(alone.get(), options_for(input, bad));
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK_THAT(failure.message, Contains("expected 0 to 2^31 - 1"));
  }
  sl_state_options options = options_for(input, 3);
  options.max_steps = 4;
  failure = alloc_failure(alone.get(), options);
  CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
  CHECK(failure.message == "options.max_length is 3: expected at least the 4 of max_steps");
  // A layer that also sees the future cannot step, with any max_length.
  const Layer both =
      make_model(R"({"type":"DotProductSelfAttention","num_heads":1,"units_per_head":4,)"
                 R"("max_past_horizon":-1,"max_future_horizon":-1})",
                 8);
  for (const int64_t length : {0, 8}) {
    failure = alloc_failure(both.get(), options_for(input, length));
    CHECK(failure.status == SL_STATUS_UNSUPPORTED);
    CHECK_THAT(failure.message, Contains("cannot run step-wise: it sees all of the future"));
  }
}

TEST_CASE("a step past max_length fails and leaves the stream unchanged", "[max_length]") {
  const Layer layer = make_model(kTransformer, 8);
  const Input input = input_for({2, 20, 8});
  sl_state_options options = options_for(input, 11);  // rounded up to whole blocks: 12
  options.max_steps = 4;
  const State state(layer, options);
  Tensor y;
  const auto go = [&](int64_t begin, int64_t end, bool in_one_call) {
    return run(layer.get(), state.get(), input.x, begin, end, in_one_call, &y);
  };
  CHECK(go(0, 6, true).status == SL_STATUS_OK);
  CHECK(go(6, 10, false).status == SL_STATUS_OK);
  const std::vector<uint8_t> before = save(state.get());
  for (const bool in_one_call : {false, true}) {
    const Failure failure = go(10, 14, in_one_call);
    CHECK(failure.status == SL_STATUS_LENGTH);
    CHECK(failure.message ==
          "the stream has had 10 steps: 4 more are too many for its max_length of 12");
    CHECK(save(state.get()) == before);
  }
  // The remaining steps still fit.
  CHECK(go(10, 12, false).status == SL_STATUS_OK);
  const Tensor whole = apply(layer, {slice_time(input.x, 0, 12), {}});
  CHECK(compare_sequences(y, slice_time(whole, 5, 6), {1e-5, 1e-5}).reason == "");
  CHECK(go(12, 14, false).status == SL_STATUS_LENGTH);
  // After a reset, the stream can run again.
  check([&](sl_error* e) { return sl_state_reset(state.get(), e); });
  CHECK(go(0, 12, true).status == SL_STATUS_OK);
  CHECK(compare_sequences(y, whole, {1e-5, 1e-5}).reason == "");
}

TEST_CASE("a stream copied to a larger state continues past its max_length", "[max_length]") {
  const Layer layer = make_model(kTransformer, 8);
  const Input input = input_for({2, 16, 8});
  const State small(layer, options_for(input, 8)), large(layer, options_for(input, 16)),
      between(layer, options_for(input, 12));
  const auto copy = [](sl_state* to, const sl_state* from) {
    return failure_of([&](sl_error* e) { return sl_state_copy(to, from, e); });
  };
  Tensor y;
  REQUIRE(run(layer.get(), small.get(), input.x, 0, 8, true, &y).status == SL_STATUS_OK);
  REQUIRE(copy(large.get(), small.get()).status == SL_STATUS_OK);
  REQUIRE(run(layer.get(), large.get(), input.x, 8, 10, false, &y).status == SL_STATUS_OK);
  const Tensor whole = apply(layer, input);
  CHECK(compare_sequences(y, slice_time(whole, 4, 5), {1e-5, 1e-5}).reason == "");
  const std::vector<uint8_t> before = save(small.get());
  const Failure failure = copy(small.get(), large.get());
  CHECK(failure.status == SL_STATUS_LENGTH);
  CHECK(failure.message == "the stream has had 10 steps: too many for a max_length of 8");
  CHECK(save(small.get()) == before);
  // A copy to a smaller state works too, if the stream fits.
  REQUIRE(copy(between.get(), large.get()).status == SL_STATUS_OK);
  REQUIRE(run(layer.get(), between.get(), input.x, 10, 12, false, &y).status == SL_STATUS_OK);
  CHECK(compare_sequences(y, slice_time(whole, 5, 6), {1e-5, 1e-5}).reason == "");
}

TEST_CASE("a saved state can be loaded only with the same max_length", "[max_length]") {
  const Layer layer = make_model(kTransformer, 8);
  const Input input = input_for({1, 8, 8});
  const State a(layer, options_for(input, 8)), b(layer, options_for(input, 10));
  const std::vector<uint8_t> bytes = save(a.get());
  CHECK_THAT(failure_of([&](sl_error* e) {
               return sl_state_load(b.get(), bytes.data(), bytes.size(), e);
             }).message,
             Contains("other options: max_length is 8, not 10"));
}

TEST_CASE("a layer that does not need max_length accepts it", "[max_length]") {
  const Layer layer = make_model(R"({"type":"Delay","length":1})");
  const Input input = input_for({1, 4, 2});
  const State state(layer, options_for(input, 2));
  Tensor y;
  CHECK(run(layer.get(), state.get(), input.x, 0, 1, false, &y).status == SL_STATUS_OK);
  CHECK(run(layer.get(), state.get(), input.x, 1, 2, false, &y).status == SL_STATUS_OK);
  CHECK(run(layer.get(), state.get(), input.x, 2, 3, false, &y).status == SL_STATUS_LENGTH);
}

// The columns of an attention's emits are keys, in the order of the stream.
TEST_CASE("emits of an attention have a column for each step up to max_length", "[max_length]") {
  const Layer layer = make_model(kSelfAttention, 8);
  const Input input = input_for({1, 6, 8});
  const State state(layer, options_for(input, 6));
  std::vector<NamedTensor> whole;
  apply(layer, input, &whole);
  for (int64_t t = 0; t < 6; ++t) {
    const Tensor x = slice_time(input.x, t, t + 1);
    auto emits = make_emits(layer, SL_MODE_STEP, x, {}, &state);
    REQUIRE(emits.size() == 1);
    Tensor& got = emits[0].value;
    REQUIRE(got.dims == std::vector<int64_t>{1, 1, 2, 6});
    sl_sequence emit = got.view(), in = x.view();
    Tensor y = make_sequence(SL_DTYPE_FLOAT32, {1, 1, 2, 4});
    sl_sequence out = y.view();
    sl_run_options options = SL_RUN_OPTIONS_INIT;
    options.emits = &emit;
    options.num_emits = 1;
    check([&](sl_error* e) {
      return sl_layer_step(layer.get(), state.get(), &in, &out, &options, e);
    });
    const Tensor want = slice_time(whole[0].value, t, t + 1);
    CHECK(compare_sequences(got, want, {1e-5, 1e-5}).reason == "");
  }
  const sl_sequence x = input.x.view();
  sl_sequence emit = SL_SEQUENCE_INIT;
  CHECK(failure_of([&](sl_error* e) {
          return sl_layer_emit_shape(layer.get(), SL_MODE_STEP, &x, nullptr, 0, nullptr, 0, &emit,
                                     e);
        }).status == SL_STATUS_UNSUPPORTED);
}

}  // namespace
}  // namespace sl::testing
