// Tests the option kv_format: caches of keys and values in fewer bytes.
#include <catch2/catch.hpp>
#include <cmath>
#include <complex>
#include <random>

#include "faults/golden_cases.h"
#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"
#include "testing/trap.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

constexpr const char* kAttention =
    R"({"type":"DotProductSelfAttention","num_heads":2,"units_per_head":24,)"
    R"("max_past_horizon":70,"max_future_horizon":0})";

// Maximum noise in an output: bfloat16 keeps 8 bits of a value, int8 a 254th of the largest one of
// a head, and a softmax amplifies both.
const std::pair<const char*, double> kFormats[] = {{"bfloat16", 0.006}, {"int8", 0.02}};

// Root mean square of the difference, as a share of that of the values wanted.
double noise(const Tensor& got, const Tensor& want) {
  double difference = 0, signal = 0;
  for (int64_t i = 0; i < want.size(); ++i) {
    const int64_t step = i / want.step_size();
    if (!want.valid(step / want.time(), step % want.time())) continue;
    difference += std::norm(got.at(i) - want.at(i));
    signal += std::norm(want.at(i));
  }
  return std::sqrt(difference / signal);
}

sl_layer_options options_of(const char* format) {
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.kv_format = format;
  return options;
}

Layer make(const char* format) {
  const sl_layer_options options = options_of(format);
  return make_model(kAttention, 40, &options);
}

Input random_input(int64_t batch) {
  std::mt19937 rng(3);
  return {random_sequence(SL_DTYPE_FLOAT32, {batch, 150, 40}, rng), {}};
}

TEST_CASE("a cache in float32 is as without the option", "[kv_format]") {
  const Input input = random_input(2);
  const Tensor want = apply(make(nullptr), input);
  CHECK(compare_bits(apply(make("float32"), input), want).reason == "");
}

TEST_CASE("caches in fewer bytes change an output, and little", "[kv_format]") {
  const Input input = random_input(2);
  const Tensor want = apply(make(nullptr), input);
  for (const auto& [format, share] : kFormats) {
    INFO(format);
    const Layer layer = make(format);
    const double found = noise(apply(layer, input), want);
    CHECK(found > 1e-4);
    CHECK(found < share);
    Stepper stepper(layer, input, {.blocks_per_step = 5});
    CHECK(compare_bits(stepper.run_all(), apply(layer, input)).reason == "");
    CHECK(stepper.allocations() == 0);
  }
}

// Steps, prefill, slots, forks, resets and saved states of every kind of attention.
TEST_CASE("every recorded case of attention keeps the contract with caches in fewer bytes",
          "[kv_format]") {
  for (const auto& pair : kFormats) {
    const char* const format = pair.first;
    const double share = pair.second;
    const sl_layer_options options = options_of(format);
    int64_t cases = 0, changed = 0;
    for_each_golden_case([&](const GoldenCase& golden) {
      if (golden.config().find("Attention") == std::string::npos) return;
      INFO(golden.name << " " << format);
      const Weights weights = select_weights(golden.tensors, golden.name + "/weights/");
      const Layer layer(golden.config(), weights, &options), plain = golden.layer();
      Case c = golden.check(&layer);
      c.output.reset();
      c.emits.clear();
      CHECK(check_contract(c).failures() == "");
      CHECK(check_slots(c).failures() == "");
      const double tolerance = 10 * share;  // of single values
      const Comparison comparison =
          compare_sequences(apply(layer, c.input), apply(plain, c.input), {tolerance, tolerance});
      CHECK(comparison.reason == "");
      ++cases;
      changed += comparison.largest > 0;
    });
    CHECK(cases > 100);
    CHECK(changed > cases / 3);
  }
}

TEST_CASE("caches in fewer bytes make states smaller", "[kv_format]") {
  const auto bytes = [](const char* format) {
    const Layer layer = make(format);
    Stepper stepper(layer, random_input(1));
    return stepper.save().size();
  };
  const size_t whole = bytes(nullptr);
  CHECK(bytes("bfloat16") < whole * 6 / 10);
  CHECK(bytes("int8") < whole * 4 / 10);
}

TEST_CASE("states with caches of different formats are told apart", "[kv_format]") {
  const Input input = random_input(1);
  const Layer plain = make(nullptr), halves = make("bfloat16");
  Stepper from(halves, input), to(halves, input), other(plain, input);
  from.run(0, 80);
  const std::vector<uint8_t> saved = from.save();
  to.load(saved);
  CHECK(compare_bits(to.run(80, 150), from.run(80, 150)).reason == "");
  CHECK(thrown_by([&] { other.load(saved); }).status == SL_STATUS_STATE);
}

// Tokens that a slot of a decoder draws in so many steps, with their log probabilities.
std::vector<std::pair<int32_t, float>> choices(sequence_layers::Decoder& decoder, int64_t slot,
                                               int steps) {
  std::vector<std::pair<int32_t, float>> out(static_cast<size_t>(steps));
  for (auto& [token, log_prob] : out) {
    const AllocationTrap trap;
    const sl_status status = decoder.sample_slots(&slot, 1, &token, &log_prob);
    CHECK(trap.count() == 0);
    CHECK(status == SL_STATUS_OK);
  }
  return out;
}

TEST_CASE("slots of decoders move with caches in fewer bytes", "[kv_format]") {
  const std::string config =
      R"({"type":"Serial","layers":[{"type":"Embedding","dimension":32,"num_embeddings":50},)"
      R"({"type":"DotProductSelfAttention","num_heads":2,"units_per_head":16,)"
      R"("max_past_horizon":-1,"max_future_horizon":0},{"type":"Flatten"},)"
      R"({"type":"Dense","features":50,"name":"logits"},{"type":"Scale","scale":20}]})";
  size_t whole = 0;
  for (const char* format : {"float32", "bfloat16", "int8"}) {
    INFO(format);
    const sl_layer_options options = options_of(format);
    const Layer layer = make_model(config, 32, &options);
    sl_decoder_options decoding = SL_DECODER_OPTIONS_INIT;
    decoding.max_length = 300;
    decoding.batch = 3;
    decoding.temperature = 1;
    sequence_layers::Decoder decoder(layer, decoding);
    choices(decoder, 0, 40);
    std::vector<uint8_t> saved(decoder.save_slot_size());
    decoder.save_slot(0, saved.data(), saved.size());
    decoder.load_slot(1, saved.data(), saved.size());
    decoder.copy_slot_from(2, decoder, 0);
    const auto next = choices(decoder, 0, 40);
    CHECK(choices(decoder, 1, 40) == next);
    CHECK(choices(decoder, 2, 40) == next);
    if (whole == 0) whole = saved.size();
    if (format == std::string("bfloat16")) CHECK(saved.size() < whole * 6 / 10);
    if (format == std::string("int8")) CHECK(saved.size() < whole * 4 / 10);
  }
}

TEST_CASE("formats that caches cannot have are refused", "[kv_format]") {
  for (const char* format : {"int4", "half", ""}) {
    const Failure failure = thrown_by([&] { make(format); });
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK_THAT(failure.message, Contains("float32, bfloat16 or int8"));
  }
}

}  // namespace
}  // namespace sl::testing
