// Tests slots: streams that share a state or a decoder, each at its own position.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <map>

#include "sequence_layers/sequence_layers.hpp"
#include "support/models.h"
#include "testing/compare.h"
#include "testing/trap.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using sequence_layers::Decoder;

constexpr const char* kStream =
    R"({"type":"Serial","layers":[{"type":"Conv1D","filters":4,"kernel_size":3,)"
    R"("padding":"causal_valid"},{"type":"LSTM","units":3}]})";
constexpr const char* kAttention =
    R"({"type":"Serial","layers":[{"type":"DotProductSelfAttention","num_heads":2,)"
    R"("units_per_head":4,"max_past_horizon":-1,"max_future_horizon":0},{"type":"Flatten"}]})";

State make_state(const Layer& layer, int64_t channels, int64_t batch, int64_t max_length = 0) {
  sl_state_options options =
      sequence_layers::state_options(sequence_layers::channel_spec({channels}), batch);
  options.max_length = max_length;
  return State(layer, options);
}

// One step of slots, whose items hold numbers that depend on `seed`.
Failure step(State& state, const std::vector<int64_t>& slots, int64_t channels, uint32_t seed,
             std::vector<float>* out, int64_t outputs) {
  std::mt19937 rng(seed);
  const auto count = static_cast<int64_t>(slots.size());
  Tensor x = random_sequence(SL_DTYPE_FLOAT32, {count, 1, channels}, rng);
  std::fill(x.mask.begin(), x.mask.end(), uint8_t{1});
  out->assign(static_cast<size_t>(count * outputs), 0);
  const sl_sequence in = x.view();
  sl_sequence y =
      sequence_layers::sequence(sequence_layers::channel_spec({outputs}), count, 1, out->data());
  return failure_of(
      [&](sl_error* e) { return state.step_slots(slots.data(), count, in, &y, nullptr, e); });
}

std::vector<uint8_t> save_item(const State& state, int64_t item) {
  std::vector<uint8_t> bytes(state.save_item_size());
  state.save_item(item, bytes.data(), bytes.size());
  return bytes;
}

TEST_CASE("slots that do not exist or come twice are refused", "[slots]") {
  const Layer layer = make_model(kStream, 4);
  State state = make_state(layer, 4, 3);
  std::vector<float> y;
  REQUIRE(step(state, {2, 0}, 4, 1, &y, 3).status == SL_STATUS_OK);
  const std::vector<unsigned char> before = state.save();
  const auto refused = [&](const std::vector<int64_t>& slots, const char* message) {
    const Failure failure = step(state, slots, 4, 2, &y, 3);
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK_THAT(failure.message, Contains(message));
  };
  refused({0, 3}, "slots[1] is 3: expected 0 to 2, as the batch is 3");
  refused({-1}, "slots[0] is -1: expected 0 to 2");
  refused({1, 2, 1}, "slots[2] is 1 again");
  refused({}, "count is 0: expected 1 to 3, as the batch is 3");
  refused({0, 1, 2, 0}, "count is 4: expected 1 to 3");
  CHECK(failure_of([&](sl_error* e) {
          return sl_layer_step_slots(layer.get(), state.get(), nullptr, 1, nullptr, nullptr,
                                     nullptr, e);
        }).message == "slots is null");
  CHECK(state.save() == before);

  Tensor x = make_sequence(SL_DTYPE_FLOAT32, {3, 1, 4}),
         out = make_sequence(SL_DTYPE_FLOAT32, {3, 1, 3});
  const sl_sequence in = x.view();
  sl_sequence made = out.view();
  const int64_t slots[] = {0, 2};
  const Failure failure =
      failure_of([&](sl_error* e) { return state.step_slots(slots, 2, in, &made, nullptr, e); });
  CHECK(failure.status == SL_STATUS_SHAPE);
  CHECK(failure.message == "x is of batch 3: the call steps 2");
  CHECK(state.save() == before);
}

TEST_CASE("a step leaves the slots that it does not name as they are", "[slots]") {
  const Layer layer = make_model(kStream, 4);
  State state = make_state(layer, 4, 4);
  std::vector<float> y;
  REQUIRE(step(state, {0, 1, 2, 3}, 4, 1, &y, 3).status == SL_STATUS_OK);
  const auto zero = save_item(state, 0), one = save_item(state, 1), two = save_item(state, 2);
  REQUIRE(step(state, {3, 1}, 4, 2, &y, 3).status == SL_STATUS_OK);
  CHECK(save_item(state, 0) == zero);
  CHECK(save_item(state, 1) != one);
  CHECK(save_item(state, 2) == two);
}

TEST_CASE("each slot has its own maximum length", "[slots]") {
  const Layer layer = make_model(kAttention, 4);
  State state = make_state(layer, 4, 3, /*max_length=*/3);
  std::vector<float> y;
  for (uint32_t i = 0; i < 3; ++i) REQUIRE(step(state, {1}, 4, i, &y, 8).status == SL_STATUS_OK);
  REQUIRE(step(state, {0, 2}, 4, 3, &y, 8).status == SL_STATUS_OK);
  const std::vector<unsigned char> before = state.save();
  const Failure full = step(state, {2, 1, 0}, 4, 4, &y, 8);
  CHECK(full.status == SL_STATUS_LENGTH);
  CHECK_THAT(full.message, Contains("the stream has had 3 steps: 1 more are too many"));
  CHECK(state.save() == before);
  CHECK(step(state, {2, 0}, 4, 4, &y, 8).status == SL_STATUS_OK);
  state.reset_item(1);
  CHECK(step(state, {1, 2, 0}, 4, 5, &y, 8).status == SL_STATUS_OK);
  CHECK(step(state, {1}, 4, 5, &y, 8).status == SL_STATUS_OK);
  CHECK(step(state, {0}, 4, 5, &y, 8).status == SL_STATUS_LENGTH);
}

TEST_CASE("a saved slot and a saved state of batch 1 are the same bytes", "[slots]") {
  const Layer layer = make_model(kStream, 4), other = make_model(kAttention, 4);
  State state = make_state(layer, 4, 3), single = make_state(layer, 4, 1);
  std::vector<float> y, z;
  REQUIRE(step(single, {0}, 4, 1, &z, 3).status == SL_STATUS_OK);
  REQUIRE(step(state, {1}, 4, 1, &y, 3).status == SL_STATUS_OK);
  CHECK(y == z);
  const std::vector<uint8_t> saved = single.save();
  CHECK(save_item(state, 1) == saved);
  CHECK(save_item(single, 0) == saved);
  state.load_item(2, saved.data(), saved.size());
  CHECK(save_item(state, 2) == saved);
  single.reset();
  const std::vector<uint8_t> from_slot = save_item(state, 2);
  single.load(from_slot);
  CHECK(single.save() == saved);

  const auto load = [&](State& target, const std::vector<uint8_t>& bytes) {
    return failure_of([&](sl_error* e) {
      return sl_state_load_item(target.get(), 1, bytes.data(), bytes.size(), e);
    });
  };
  CHECK(load(state, state.save()).message ==
        "the saved state is of a stream of other options: batch is 3, not 1");
  State attention = make_state(other, 4, 3, 8);
  CHECK(load(attention, saved).message == "the saved state is of another model");
  std::vector<uint8_t> damaged = saved;
  damaged.back() ^= 1;
  CHECK_THAT(load(state, damaged).message, Contains("its checksum differs"));
  CHECK(save_item(state, 1) == saved);
  CHECK(failure_of([&](sl_error* e) {
          return sl_state_save_item(state.get(), 3, damaged.data(), damaged.size(), e);
        }).message == "item is 3: expected 0 to 2, as the batch is 3");
  CHECK_THAT(failure_of([&](sl_error* e) {
               return sl_state_save_item(state.get(), 0, damaged.data(), 1, e);
             }).message,
             Contains("buffer has 1 bytes: expected"));
}

// A custom layer that adds up its input, with one number of state, and counts its calls.
struct Sums {
  int steps = 0, slot_steps = 0;

  static void add(const sl_sequence* x, const sl_sequence* y, int64_t b, float* sum) {
    *sum += static_cast<const float*>(x->data)[b];
    static_cast<float*>(y->data)[b] = *sum;
  }
  static sl_status step(const void* instance, void* state, const sl_sequence* x, sl_sequence* y,
                        sl_error*) {
    ++of(instance).steps;
    for (int64_t b = 0; b < x->dims[0]; ++b) add(x, y, b, static_cast<float*>(state) + b);
    return SL_STATUS_OK;
  }
  static sl_status step_slots(const void* instance, void* state, const int64_t* slots,
                              int64_t count, const sl_sequence* x, sl_sequence* y, sl_error*) {
    ++of(instance).slot_steps;
    for (int64_t b = 0; b < count; ++b) add(x, y, b, static_cast<float*>(state) + slots[b]);
    return SL_STATUS_OK;
  }
  static Sums& of(const void* instance) { return *static_cast<Sums*>(const_cast<void*>(instance)); }

  sl_layer_callbacks callbacks() {
    sl_layer_callbacks out = SL_LAYER_CALLBACKS_INIT;
    out.user_data = this;
    out.create = [](void* user_data, const char*, const sl_weight_source*, void** instance,
                    sl_error*) -> sl_status {
      *instance = user_data;
      return SL_STATUS_OK;
    };
    out.state_size = [](const void*, const sl_channel_spec*, size_t* bytes,
                        sl_error*) -> sl_status {
      *bytes = sizeof(float);
      return SL_STATUS_OK;
    };
    out.layer = [](const void*, const sl_sequence*, sl_sequence*, sl_error*) -> sl_status {
      return SL_STATUS_OK;
    };
    out.step = step;
    return out;
  }
};

// Steps slots of a custom layer that sums ones, and returns the sums.
std::vector<float> sums_of(State& state, const std::vector<int64_t>& slots) {
  std::vector<float> x(slots.size(), 1), y(slots.size());
  const auto count = static_cast<int64_t>(slots.size());
  const sl_channel_spec scalar = sequence_layers::channel_spec({});
  const sl_sequence in = sequence_layers::sequence(scalar, count, 1, x.data());
  sl_sequence out = sequence_layers::sequence(scalar, count, 1, y.data());
  CHECK(state.step_slots(slots.data(), count, in, &out) == SL_STATUS_OK);
  return y;
}

TEST_CASE("a custom layer steps slots by a callback of its own or by ranges", "[slots]") {
  using Values = std::vector<float>;
  for (const bool own : {false, true}) {
    INFO(own);
    Sums sums;
    sl_layer_callbacks callbacks = sums.callbacks();
    if (own) callbacks.step_slots = Sums::step_slots;
    const CustomType type("Sums", callbacks);
    const Layer layer(R"({"type":"Sums"})", &type.options);
    State state(layer, sequence_layers::channel_spec({}), 5);
    sums.steps = sums.slot_steps = 0;
    CHECK(sums_of(state, {3}) == Values{1});
    CHECK(sums_of(state, {2, 3, 4}) == Values{1, 2, 1});
    CHECK(sums.steps == 2);  // neighbours are one call
    CHECK(sums_of(state, {3, 4, 0, 2}) == Values{3, 2, 1, 2});
    CHECK(sums.steps == (own ? 2 : 5));
    CHECK(sums.slot_steps == (own ? 1 : 0));
    state.reset_item(3);
    CHECK(sums_of(state, {4, 3, 1}) == Values{3, 1, 1});
  }
}

TEST_CASE("a custom layer without step has no step_slots", "[slots]") {
  sl_layer_callbacks callbacks = Sums().callbacks();
  callbacks.state_size = nullptr;
  callbacks.step = nullptr;
  callbacks.step_slots = Sums::step_slots;
  CHECK(thrown_by([&] { CustomType("Sums", callbacks); }).message ==
        "callbacks.step is null though callbacks.step_slots is not");
}

// Causal attention and convolution over tokens, with logits that differ clearly.
constexpr const char* kTokens =
    R"({"type":"Serial","layers":[)"
    R"({"type":"Embedding","dimension":8,"num_embeddings":9,"name":"tokens"},)"
    R"({"type":"Scale","scale":8},)"
    R"({"type":"Residual","layers":[)"
    R"({"type":"DotProductSelfAttention","num_heads":2,"units_per_head":4,)"
    R"("max_past_horizon":-1,"max_future_horizon":0},{"type":"Flatten"},)"
    R"({"type":"Dense","features":8,"name":"out"}]},)"
    R"({"type":"Conv1D","filters":8,"kernel_size":3,"padding":"causal_valid"},)"
    R"({"type":"Scale","scale":20},{"type":"Dense","features":9,"name":"logits"}]})";
constexpr int64_t kLength = 24;

// A stream of tokens with choices of its own, and what a decoder of batch 1 makes of it.
struct Speaker {
  sl_decoder_options options = SL_DECODER_OPTIONS_INIT;
  std::vector<int32_t> prompt;
  std::vector<int32_t> tokens;
  std::vector<float> log_probs;
  std::vector<uint8_t> mask;
  size_t taken = 0;

  sl_sequence view() {
    return sequence_layers::sequence(sequence_layers::channel_spec({}, SL_DTYPE_INT32), 1,
                                     static_cast<int64_t>(prompt.size()), prompt.data());
  }
  bool is_done() const { return taken == tokens.size(); }
};

Speaker make_speaker(const Layer& layer, int index) {
  Speaker out;
  sl_decoder_options& options = out.options;
  options.max_length = kLength;
  options.start_token = index % 3;
  options.stop_token = index % 2 == 0 ? 4 : 0;
  options.pad_token = -7 - index;
  options.seed = static_cast<uint64_t>(100 + index);
  options.temperature = index % 4 == 0 ? 0.0f : 0.6f + 0.2f * static_cast<float>(index);
  options.top_k = index == 3 ? 4 : 0;
  options.top_p = index == 5 ? 0.8f : 0.0f;
  for (int i = 0; i < index * 2 % 5; ++i) out.prompt.push_back((index + 3 * i) % 9);
  Decoder alone(layer, options);
  if (!out.prompt.empty()) alone.prefill(out.view());
  for (int i = 0; i < 12; ++i) {
    int32_t token = 0;
    float log_prob = 0;
    uint8_t mask = 0;
    check([&](sl_error* e) { return alone.sample(&token, &log_prob, &mask, nullptr, e); });
    out.tokens.push_back(token);
    out.log_probs.push_back(log_prob);
    out.mask.push_back(mask);
  }
  return out;
}

// Decoders whose slots serve speakers.
class Stage {
 public:
  Stage(const Layer& layer, int64_t count, int64_t slots) {
    for (int i = 0; i < count; ++i) speakers_.push_back(make_speaker(layer, i));
    sl_decoder_options options = SL_DECODER_OPTIONS_INIT;
    options.max_length = kLength;
    options.batch = slots;
    decoder_.emplace(layer, options);
  }
  void start(int64_t slot) {
    Speaker& speaker = speakers_[next_];
    decoder_->start_slot(slot, &speaker.options);
    if (!speaker.prompt.empty()) decoder_->prefill_slot(slot, speaker.view());
    slots_[slot] = next_++;
  }
  bool has_next() const { return next_ < speakers_.size(); }
  bool is_free(int64_t slot) const { return !slots_.contains(slot); }
  bool is_empty() const { return slots_.empty(); }
  void move(int64_t from, int64_t to, bool saves) {
    if (is_free(from) || !is_free(to)) return;
    if (saves) {
      std::vector<uint8_t> bytes(decoder_->save_slot_size());
      decoder_->save_slot(from, bytes.data(), bytes.size());
      decoder_->load_slot(to, bytes.data(), bytes.size());
    } else {
      decoder_->copy_slot_from(to, *decoder_, from);
    }
    slots_[to] = slots_[from];
    slots_.erase(from);
  }
  // Samples those of the slots that are not free; returns the heap calls.
  int64_t sample(std::vector<int64_t> slots) {
    std::erase_if(slots, [&](int64_t slot) { return is_free(slot); });
    if (slots.empty()) return 0;
    const size_t count = slots.size();
    std::vector<int32_t> tokens(count);
    std::vector<float> log_probs(count);
    std::vector<uint8_t> mask(count);
    int64_t calls = 0;
    check([&](sl_error* e) {
      const AllocationTrap trap;
      const sl_status status =
          decoder_->sample_slots(slots.data(), static_cast<int64_t>(count), tokens.data(),
                                 log_probs.data(), mask.data(), nullptr, e);
      calls = trap.count();
      return status;
    });
    for (size_t i = 0; i < count; ++i) {
      Speaker& speaker = speakers_[slots_[slots[i]]];
      INFO("speaker " << slots_[slots[i]] << " in slot " << slots[i] << ", token "
                      << speaker.taken);
      CHECK(tokens[i] == speaker.tokens[speaker.taken]);
      CHECK(log_probs[i] == speaker.log_probs[speaker.taken]);
      CHECK(mask[i] == speaker.mask[speaker.taken]);
      ++speaker.taken;
      if (speaker.is_done()) slots_.erase(slots[i]);
    }
    return calls;
  }
  const std::vector<Speaker>& speakers() const { return speakers_; }

 private:
  std::vector<Speaker> speakers_;
  std::optional<Decoder> decoder_;
  std::map<int64_t, size_t> slots_;  // slot to speaker
  size_t next_ = 0;
};

TEST_CASE("each slot of a decoder gives what a decoder of its own gives", "[slots]") {
  const Layer layer = make_model(kTokens, 8);
  Stage stage(layer, 8, 4);
  std::mt19937 rng(3);
  int64_t calls = 0;
  for (int round = 0; stage.has_next() || !stage.is_empty(); ++round) {
    for (int64_t slot = 0; slot < 4 && stage.has_next(); ++slot) {
      if (stage.is_free(slot) && rng() % 2 == 0) stage.start(slot);
    }
    std::vector<int64_t> slots = {0, 1, 2, 3};
    if (round % 2 == 1) std::ranges::shuffle(slots, rng);
    slots.resize(1 + rng() % 4);
    calls += stage.sample(slots);
    stage.move(static_cast<int64_t>(rng() % 4), static_cast<int64_t>(rng() % 4), round % 3 == 0);
  }
  CHECK(calls == 0);
  // The streams differ, and some have ended before the others.
  int ended = 0;
  for (const Speaker& speaker : stage.speakers()) {
    CHECK(speaker.is_done());
    ended += speaker.mask.back() == 0 ? 1 : 0;
  }
  CHECK(ended > 0);
  CHECK(ended < 8);
}

TEST_CASE("a slot whose logits are NaN does not touch the others", "[slots]") {
  Weights weights;
  // Row by the last token: token 1 follows 0, then 2, and after 2 the logits are NaN.
  float rows[] = {0, 9, 0, 0, 0, 9, NAN, 0, 0};
  sl_sequence tensor = SL_SEQUENCE_INIT;
  tensor.is_array = 1;
  tensor.rank = 2;
  tensor.dims[0] = tensor.dims[1] = 3;
  tensor.data = rows;
  weights.add("params.embedding", tensor);
  const Layer layer(R"({"type":"Embedding","dimension":3,"num_embeddings":3})", weights);
  sl_decoder_options options = SL_DECODER_OPTIONS_INIT;
  options.batch = 2;
  options.pad_token = 8;
  Decoder decoder(layer, options);
  const int64_t both[] = {1, 0}, one[] = {1};
  int32_t tokens[2] = {};
  float log_probs[2] = {};
  uint8_t mask[2] = {};
  REQUIRE(decoder.sample_slots(one, 1, tokens) == SL_STATUS_OK);
  REQUIRE(decoder.sample_slots(one, 1, tokens) == SL_STATUS_OK);
  const auto sample = [&](const int64_t* slots, int64_t count) {
    return failure_of([&](sl_error* e) {
      return decoder.sample_slots(slots, count, tokens, log_probs, mask, nullptr, e);
    });
  };
  CHECK(sample(both, 2).message == "the model's logits of stream 1 at step 2 are NaN");
  CHECK(tokens[0] == 8);
  CHECK(std::isnan(log_probs[0]));
  CHECK(mask[0] == 0);
  CHECK(tokens[1] == 1);
  CHECK(mask[1] == 1);
  tokens[1] = 0;
  CHECK(sample(both, 2).status == SL_STATUS_UNSUPPORTED);  // and slot 0 does not step
  CHECK(tokens[1] == 0);
  const int64_t zero[] = {0};
  REQUIRE(sample(zero, 1).status == SL_STATUS_OK);
  CHECK(tokens[0] == 2);
  decoder.start_slot(1, nullptr);
  REQUIRE(sample(one, 1).status == SL_STATUS_OK);
  CHECK(tokens[0] == 1);
}

TEST_CASE("bad slots and damaged slots of decoders are refused", "[slots]") {
  const Layer layer = make_model(kTokens, 8);
  sl_decoder_options options = SL_DECODER_OPTIONS_INIT;
  options.max_length = kLength;
  options.batch = 2;
  Decoder decoder(layer, options), other(layer, options);
  const auto refused = [](const Failure& failure, sl_status status, const char* message) {
    CHECK(failure.status == status);
    CHECK_THAT(failure.message, Contains(message));
  };
  options.stop_token = 9;
  refused(thrown_by([&] { decoder.start_slot(0, &options); }), SL_STATUS_INVALID_ARGUMENT,
          "options.stop_token is 9: the model has 9 tokens");
  options.stop_token = 0;
  options.temperature = -1;
  refused(thrown_by([&] { decoder.start_slot(0, &options); }), SL_STATUS_INVALID_ARGUMENT,
          "temperature is -1");
  refused(thrown_by([&] { decoder.start_slot(2, nullptr); }), SL_STATUS_INVALID_ARGUMENT,
          "slot is 2: expected 0 to 1, as the batch is 2");
  int32_t tokens[3] = {};
  const int64_t twice[] = {1, 1};
  refused(failure_of([&](sl_error* e) {
            return decoder.sample_slots(twice, 2, tokens, nullptr, nullptr, nullptr, e);
          }),
          SL_STATUS_INVALID_ARGUMENT, "slots[1] is 1 again");
  refused(thrown_by([&] {
            const sl_sequence prompt = sequence_layers::sequence(
                sequence_layers::channel_spec({}, SL_DTYPE_INT32), 2, 1, tokens);
            decoder.prefill_slot(1, prompt);
          }),
          SL_STATUS_SHAPE, "tokens is of batch 2: the call is for 1");

  REQUIRE(decoder.sample(tokens) == SL_STATUS_OK);
  std::vector<uint8_t> saved(decoder.save_slot_size());
  decoder.save_slot(1, saved.data(), saved.size());
  const auto load = [&](size_t size) {
    return thrown_by([&] { other.load_slot(0, saved.data(), size); });
  };
  refused(load(10), SL_STATUS_STATE, "not a saved slot of a decoder: 10 bytes");
  refused(load(saved.size() - 1), SL_STATUS_STATE, "the saved state has");
  saved[40] ^= 1;
  refused(load(saved.size()), SL_STATUS_STATE, "the saved slot is damaged");
  saved[40] ^= 1;
  saved[0] ^= 1;
  refused(load(saved.size()), SL_STATUS_STATE, "not a saved slot of a decoder");
  saved[0] ^= 1;
  CHECK(load(saved.size()).status == SL_STATUS_OK);
}

}  // namespace
}  // namespace sl::testing
