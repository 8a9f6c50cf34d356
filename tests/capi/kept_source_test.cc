// Tests cross-attention in streams: the first step reads the source, and the state keeps the keys
// and values computed from it.
#include <catch2/catch.hpp>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"
#include "testing/trap.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

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
Input input_for(uint32_t seed) {
  std::mt19937 rng(seed);
  Input input;
  input.x = random_sequence(SL_DTYPE_FLOAT32, {2, kTime, kChannels}, rng);
  input.constants = {{"s", random_sequence(SL_DTYPE_FLOAT32, {2, 5, kChannels}, rng)},
                     {"t", random_sequence(SL_DTYPE_FLOAT32, {2, 3, kChannels}, rng)}};
  return input;
}

// A stream with its input.
class Stream {
 public:
  Stream(const Layer& layer, const Input& input)
      : layer_(layer),
        input_(input),
        state_(layer, sequence_layers::state_options(channel_spec(input.x), input.x.batch(), 0,
                                                     views(input.constants))) {}

  // Runs the steps [begin, end), one by one or in one call, with `constants` in place of those that
  // the stream was created with.
  Tensor run(int64_t begin, int64_t end, const Constants& constants, bool in_one_call = false) {
    std::vector<Tensor> outputs;
    const int64_t block = in_one_call ? end - begin : 1;
    const auto given = views(constants);
    const sl_run_options options = sequence_layers::run_options(given);
    for (int64_t t = begin; t < end; t += block) {
      const Tensor x = slice_time(input_.x, t, t + block);
      outputs.push_back(make_like(layer_.output_shape(x.view(), SL_MODE_STEP, &options)));
      sl_sequence out = outputs.back().view();
      if (in_one_call) {
        state_.apply(x.view(), &out, &options);
        continue;
      }
      check([&](sl_error* e) {
        const AllocationTrap trap;
        const sl_status status = state_.step(x.view(), &out, &options, e);
        allocations_ += trap.count();
        return status;
      });
    }
    return concat_time(outputs);
  }
  void prepare(const Constants& constants) {
    const auto given = views(constants);
    state_.prepare(given.data(), static_cast<int64_t>(given.size()));
  }
  State& state() { return state_; }
  int64_t allocations() const { return allocations_; }

 private:
  const Layer& layer_;
  Input input_;
  State state_;
  int64_t allocations_ = 0;
};

TEST_CASE("only the first step of a stream reads the source", "[kept_source]") {
  const Input input = input_for(1);
  const Constants others = input_for(2).constants;
  for (const Kept& kept : kKept) {
    INFO(kept.name);
    const Layer layer = make_model(kept.config, kChannels);
    Stream same(layer, input), other(layer, input);
    const Tensor want = same.run(0, kTime, input.constants);
    CHECK(compare_bits(other.run(0, 1, input.constants), slice_time(want, 0, 1)).ok());
    CHECK(compare_bits(other.run(1, kTime, others), slice_time(want, 1, kTime)).ok());
    // After a reset the first step reads the source again.
    other.state().reset();
    CHECK_FALSE(compare_bits(other.run(0, kTime, others), want).ok());
    CHECK(same.allocations() + other.allocations() == 0);
  }
}

TEST_CASE("keys and values of a source are copied, saved and loaded with the state",
          "[kept_source]") {
  const Input input = input_for(1);
  const Constants others = input_for(2).constants;
  for (const Kept& kept : kKept) {
    INFO(kept.name);
    const Layer layer = make_model(kept.config, kChannels);
    Stream stream(layer, input), loaded(layer, input), copied(layer, input);
    const Tensor want = stream.run(0, kTime, input.constants);
    const Tensor rest = slice_time(want, 4, kTime);
    Stream prefixed(layer, input);
    const Tensor prefix = prefixed.run(0, 4, input.constants, /*in_one_call=*/true);
    CHECK(compare_sequences(prefix, slice_time(want, 0, 4), {1e-5, 1e-5}).reason == "");
    loaded.state().load(prefixed.state().save());
    copied.state().copy_from(prefixed.state());
    for (Stream* each : {&prefixed, &loaded, &copied})
      CHECK(compare_sequences(each->run(4, kTime, others), rest, {1e-5, 1e-5}).reason == "");
  }
}

TEST_CASE("sl_state_prepare reads a source before the first step, or again later",
          "[kept_source]") {
  const Input input = input_for(1);
  const Constants others = input_for(2).constants;
  for (const Kept& kept : kKept) {
    INFO(kept.name);
    const Layer layer = make_model(kept.config, kChannels);
    Stream stream(layer, input), prepared(layer, input);
    const Tensor want = stream.run(0, kTime, input.constants);
    prepared.prepare(input.constants);
    CHECK(compare_bits(prepared.run(0, kTime, others), want).ok());
    CHECK(prepared.state().save() == stream.state().save());
    // In the middle of a stream, a new source can be read without changing the rest of the state.
    prepared.state().reset();
    const Tensor first = prepared.run(0, 3, others);
    prepared.prepare(input.constants);
    CHECK_FALSE(compare_bits(first, slice_time(want, 0, 3)).ok());
    if (kept.remembers) continue;
    CHECK(compare_bits(prepared.run(3, kTime, others), slice_time(want, 3, kTime)).ok());
  }
}

TEST_CASE("sl_state_prepare refuses the constants that a step would refuse", "[kept_source]") {
  const Input input = input_for(1);
  const Layer layer = make_model(kKept[0].config, kChannels);
  Stream stream(layer, input);
  const std::vector<uint8_t> before = stream.state().save();
  Constants wrong = input.constants;
  wrong[0].value = slice_time(wrong[0].value, 0, 2);
  const auto given = views(wrong);
  Failure failure = failure_of(
      [&](sl_error* e) { return sl_state_prepare(stream.state().get(), given.data(), 2, e); });
  CHECK(failure.status == SL_STATUS_SHAPE);
  CHECK_THAT(failure.message, Contains("the stream was made for"));
  failure = failure_of(
      [&](sl_error* e) { return sl_state_prepare(stream.state().get(), given.data(), 1, e); });
  CHECK(failure.message == "num_constants is 1: the stream was made for 2");
  CHECK(failure_of([&](sl_error* e) {
          return sl_state_prepare(nullptr, given.data(), 2, e);
        }).status == SL_STATUS_INVALID_ARGUMENT);
  CHECK(stream.state().save() == before);
}

TEST_CASE("with recompute_kv_per_step, each step reads its source", "[kept_source]") {
  const Input input = input_for(1), other = input_for(2);
  const Layer layer = make_model(
      R"({"type":"DotProductAttention","source_name":"s","num_heads":2,"units_per_head":3,)"
      R"("recompute_kv_per_step":true})",
      kChannels);
  Stream stream(layer, input);
  CHECK(stream.state().tensor_count() == 0);
  for (int64_t t = 0; t < kTime; ++t) {
    const Input& given = t % 2 == 0 ? input : other;
    const Tensor whole = apply(layer, {input.x, given.constants});
    CHECK(compare_sequences(stream.run(t, t + 1, given.constants), slice_time(whole, t, t + 1),
                            {1e-5, 1e-5})
              .reason == "");
  }
  CHECK(stream.allocations() == 0);
}

}  // namespace
}  // namespace sl::testing
