// Tests cross-attention in streams: the first step reads the source, and the state keeps the keys
// and values computed from it.
#include <catch2/catch.hpp>

#include "cli/compare.h"
#include "cli/runner.h"
#include "cli/trap.h"
#include "support/models.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using cli::compare_bits;
using cli::compare_sequences;

constexpr int64_t kChannels = 6, kTime = 6;

struct Kept {
  const char* name;
  const char* config;
  bool remembers = false;  // whether later outputs also depend on sources read before
};

constexpr Kept kKept[] = {
    {"dot products",
     R"({"type":"DotProductAttention","source_name":"s","num_heads":2,"units_per_head":3})"},
    {"behind other state",
     R"({"type":"Serial","layers":[{"type":"Delay","length":1},{"type":"DotProductAttention",)"
     R"("source_name":"s","num_heads":2,"units_per_head":3,"relative_position_embedding":)"
     R"({"type":"ShawRelativePositionEmbedding","max_backward":2,"max_forward":2,"num_heads":2,)"
     R"("units_per_head":3}},{"type":"Delay","length":1}]})",
     true},
    {"networks", R"({"type":"DotProductAttention","source_name":"s","num_heads":2,)"
                 R"("units_per_head":4,"key_network":{"type":"ApplyRotaryPositionalEncoding",)"
                 R"("max_wavelength":100}})"},
    {"several sources",
     R"({"type":"MultiSourceDotProductAttention","source_names":["s","t"],"num_heads":2,)"
     R"("units_per_head":3,"use_separate_kv_projections":true})"},
    {"additive", R"({"type":"AdditiveAttention","source_name":"s","num_heads":2,)"
                 R"("units_per_head":3})"},
    {"located",
     R"({"type":"LocationSensitiveAttention","source_name":"s","num_heads":2,)"
     R"("units_per_head":3,"location_num_filters":2,"location_filter_size":3})",
     true},
};

// x and two sources of different lengths.
cli::Input input_for(uint32_t seed) {
  std::mt19937 rng(seed);
  cli::Input input;
  input.x = cli::random_sequence(SL_DTYPE_FLOAT32, {2, kTime, kChannels}, rng);
  input.constants = {{"s", cli::random_sequence(SL_DTYPE_FLOAT32, {2, 5, kChannels}, rng)},
                     {"t", cli::random_sequence(SL_DTYPE_FLOAT32, {2, 3, kChannels}, rng)}};
  return input;
}

// A stream with its input.
class Stream {
 public:
  Stream(const sl_layer* layer, const cli::Input& input) : layer_(layer), input_(input) {
    const auto constants = cli::views(input_.constants);
    sl_state_options options = SL_STATE_OPTIONS_INIT;
    options.batch = input.x.batch();
    options.input = cli::channel_spec(input.x);
    options.constants = constants.data();
    options.num_constants = static_cast<int64_t>(constants.size());
    state_ = cli::make<sl_state>(
        [&](sl_state** out, sl_error* e) { return sl_state_alloc(layer, &options, out, e); });
  }

  // Runs the steps [begin, end), one by one or in one call, with `constants` in place of those that
  // the stream was created with.
  Tensor run(int64_t begin, int64_t end, const cli::Constants& constants,
             bool in_one_call = false) {
    std::vector<Tensor> outputs;
    const int64_t block = in_one_call ? end - begin : 1;
    const auto given = cli::views(constants);
    sl_run_options options = SL_RUN_OPTIONS_INIT;
    options.constants = given.data();
    options.num_constants = static_cast<int64_t>(given.size());
    options.state = in_one_call ? state_.get() : nullptr;
    for (int64_t t = begin; t < end; t += block) {
      const Tensor x = cli::slice_time(input_.x, t, t + block);
      const sl_sequence in = x.view();
      sl_sequence shape = SL_SEQUENCE_INIT;
      cli::check([&](sl_error* e) {
        return sl_layer_output_shape(layer_, SL_MODE_STEP, &in, &options, &shape, e);
      });
      outputs.push_back(cli::make_like(shape));
      sl_sequence out = outputs.back().view();
      cli::check([&](sl_error* e) {
        cli::AllocationTrap trap;
        const sl_status status = in_one_call
                                     ? sl_layer_apply(layer_, &in, &out, &options, e)
                                     : sl_layer_step(layer_, state_.get(), &in, &out, &options, e);
        if (!in_one_call) allocations_ += trap.count();
        return status;
      });
    }
    return cli::concat_time(outputs);
  }
  void prepare(const cli::Constants& constants) {
    const auto given = cli::views(constants);
    cli::check([&](sl_error* e) {
      return sl_state_prepare(state_.get(), given.data(), static_cast<int64_t>(given.size()), e);
    });
  }
  std::vector<uint8_t> save() const {
    std::vector<uint8_t> bytes(sl_state_save_size(state_.get()));
    cli::check(
        [&](sl_error* e) { return sl_state_save(state_.get(), bytes.data(), bytes.size(), e); });
    return bytes;
  }
  void load(const std::vector<uint8_t>& bytes) {
    cli::check(
        [&](sl_error* e) { return sl_state_load(state_.get(), bytes.data(), bytes.size(), e); });
  }
  sl_state* get() const { return state_.get(); }
  int64_t allocations() const { return allocations_; }

 private:
  const sl_layer* layer_;
  cli::Input input_;
  cli::State state_;
  int64_t allocations_ = 0;
};

TEST_CASE("only the first step of a stream reads the source", "[kept_source]") {
  const cli::Input input = input_for(1);
  const cli::Constants others = input_for(2).constants;
  for (const Kept& kept : kKept) {
    INFO(kept.name);
    const cli::Layer layer = make_model(kept.config, kChannels);
    Stream same(layer.get(), input), other(layer.get(), input);
    const Tensor want = same.run(0, kTime, input.constants);
    CHECK(compare_bits(other.run(0, 1, input.constants), cli::slice_time(want, 0, 1)).ok());
    CHECK(compare_bits(other.run(1, kTime, others), cli::slice_time(want, 1, kTime)).ok());
    // After a reset the first step reads the source again.
    cli::check([&](sl_error* e) { return sl_state_reset(other.get(), e); });
    CHECK_FALSE(compare_bits(other.run(0, kTime, others), want).ok());
    CHECK(same.allocations() + other.allocations() == 0);
  }
}

TEST_CASE("keys and values of a source are copied, saved and loaded with the state",
          "[kept_source]") {
  const cli::Input input = input_for(1);
  const cli::Constants others = input_for(2).constants;
  for (const Kept& kept : kKept) {
    INFO(kept.name);
    const cli::Layer layer = make_model(kept.config, kChannels);
    Stream stream(layer.get(), input), loaded(layer.get(), input), copied(layer.get(), input);
    const Tensor want = stream.run(0, kTime, input.constants);
    const Tensor rest = cli::slice_time(want, 4, kTime);
    Stream prefixed(layer.get(), input);
    const Tensor prefix = prefixed.run(0, 4, input.constants, /*in_one_call=*/true);
    CHECK(compare_sequences(prefix, cli::slice_time(want, 0, 4), {1e-5, 1e-5}).reason == "");
    loaded.load(prefixed.save());
    cli::check([&](sl_error* e) { return sl_state_copy(copied.get(), prefixed.get(), e); });
    for (Stream* each : {&prefixed, &loaded, &copied})
      CHECK(compare_sequences(each->run(4, kTime, others), rest, {1e-5, 1e-5}).reason == "");
  }
}

TEST_CASE("sl_state_prepare reads a source before the first step, or again later",
          "[kept_source]") {
  const cli::Input input = input_for(1);
  const cli::Constants others = input_for(2).constants;
  for (const Kept& kept : kKept) {
    INFO(kept.name);
    const cli::Layer layer = make_model(kept.config, kChannels);
    Stream stream(layer.get(), input), prepared(layer.get(), input);
    const Tensor want = stream.run(0, kTime, input.constants);
    prepared.prepare(input.constants);
    CHECK(compare_bits(prepared.run(0, kTime, others), want).ok());
    CHECK(prepared.save() == stream.save());
    // In the middle of a stream, a new source can be read without changing the rest of the state.
    cli::check([&](sl_error* e) { return sl_state_reset(prepared.get(), e); });
    const Tensor first = prepared.run(0, 3, others);
    prepared.prepare(input.constants);
    CHECK_FALSE(compare_bits(first, cli::slice_time(want, 0, 3)).ok());
    if (kept.remembers) continue;
    CHECK(compare_bits(prepared.run(3, kTime, others), cli::slice_time(want, 3, kTime)).ok());
  }
}

TEST_CASE("sl_state_prepare refuses the constants that a step would refuse", "[kept_source]") {
  const cli::Input input = input_for(1);
  const cli::Layer layer = make_model(kKept[0].config, kChannels);
  Stream stream(layer.get(), input);
  const std::vector<uint8_t> before = stream.save();
  cli::Constants wrong = input.constants;
  wrong[0].value = cli::slice_time(wrong[0].value, 0, 2);
  const auto given = cli::views(wrong);
  Failure failure =
      failure_of([&](sl_error* e) { return sl_state_prepare(stream.get(), given.data(), 2, e); });
  CHECK(failure.status == SL_STATUS_SHAPE);
  CHECK_THAT(failure.message, Contains("the stream was made for"));
  failure =
      failure_of([&](sl_error* e) { return sl_state_prepare(stream.get(), given.data(), 1, e); });
  CHECK(failure.message == "num_constants is 1: the stream was made for 2");
  CHECK(failure_of([&](sl_error* e) {
          return sl_state_prepare(nullptr, given.data(), 2, e);
        }).status == SL_STATUS_INVALID_ARGUMENT);
  CHECK(stream.save() == before);
}

TEST_CASE("with recompute_kv_per_step, each step reads its source", "[kept_source]") {
  const cli::Input input = input_for(1), other = input_for(2);
  const cli::Layer layer = make_model(
      R"({"type":"DotProductAttention","source_name":"s","num_heads":2,"units_per_head":3,)"
      R"("recompute_kv_per_step":true})",
      kChannels);
  Stream stream(layer.get(), input);
  CHECK(sl_state_tensor_count(stream.get()) == 0);
  for (int64_t t = 0; t < kTime; ++t) {
    const cli::Input& given = t % 2 == 0 ? input : other;
    const Tensor whole = cli::apply(layer.get(), {input.x, given.constants});
    CHECK(compare_sequences(stream.run(t, t + 1, given.constants), cli::slice_time(whole, t, t + 1),
                            {1e-5, 1e-5})
              .reason == "");
  }
  CHECK(stream.allocations() == 0);
}

}  // namespace
}  // namespace sl::testing
