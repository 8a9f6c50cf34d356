// Tests decoders: sampled tokens, log probabilities, errors, and that steps are real-time.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "sequence_layers/sequence_layers.hpp"
#include "support/models.h"
#include "testing/trap.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using sequence_layers::Decoder;

constexpr int64_t kBatch = 3, kTokens = 7;
constexpr int32_t kPad = 6;

// Local attention over tokens, with weights large enough that logits differ clearly.
constexpr const char* kTransformer =
    R"({"type":"Serial","layers":[)"
    R"({"type":"Embedding","dimension":8,"num_embeddings":7},)"
    R"({"type":"Scale","scale":8},)"
    R"({"type":"Residual","layers":[)"
    R"({"type":"LocalDotProductSelfAttention","num_heads":2,"units_per_head":4,"block_size":4,)"
    R"("max_past_horizon":5,"max_future_horizon":0},{"type":"Flatten"},)"
    R"({"type":"Dense","features":8,"name":"out"}]},)"
    R"({"type":"Dense","features":7,"name":"logits"}]})";

sequence_layers::Layer make_layer(const char* config = kTransformer) {
  std::mt19937 rng(1);
  const Weights made = make_weights(config, {{"", {8, {}, {}}}}, rng);
  sequence_layers::Weights weights;
  for (int64_t i = 0; i < sl_weights_tensor_count(made.get()); ++i) {
    const char* name = nullptr;
    sl_sequence tensor = SL_SEQUENCE_INIT;
    check([&](sl_error* e) { return sl_weights_tensor(made.get(), i, &name, &tensor, e); });
    weights.add(name, tensor);
  }
  return {config, weights};
}

sl_decoder_options options_for(float temperature = 0, uint64_t seed = 1) {
  sl_decoder_options options = SL_DECODER_OPTIONS_INIT;
  options.batch = kBatch;
  options.start_token = 1;
  options.pad_token = kPad;
  options.temperature = temperature;
  options.seed = seed;
  return options;
}

// Tokens [batch, time] with the log probability and mask of each.
struct Decoded {
  explicit Decoded(int64_t time)
      : time(time), tokens(size()), log_probs(size()), mask(size(), uint8_t{1}) {}

  size_t size() const { return static_cast<size_t>(kBatch * time); }
  size_t at(int64_t b, int64_t t) const { return static_cast<size_t>(b * time + t); }
  sl_sequence token_view() {
    return sequence_layers::sequence(sequence_layers::channel_spec({}, SL_DTYPE_INT32), kBatch,
                                     time, tokens.data(), mask.data());
  }
  sl_sequence log_prob_view() {
    return sequence_layers::sequence(sequence_layers::channel_spec({}), kBatch, time,
                                     log_probs.data(), mask.data());
  }
  // The steps [from, time).
  Decoded after(int64_t from) const {
    Decoded out(time - from);
    for (int64_t b = 0; b < kBatch; ++b) {
      for (int64_t t = from; t < time; ++t) {
        out.tokens[out.at(b, t - from)] = tokens[at(b, t)];
        out.log_probs[out.at(b, t - from)] = log_probs[at(b, t)];
        out.mask[out.at(b, t - from)] = mask[at(b, t)];
      }
    }
    return out;
  }
  Decoded before(int64_t to) const {
    Decoded out(to);
    for (int64_t b = 0; b < kBatch; ++b) {
      for (int64_t t = 0; t < to; ++t) out.tokens[out.at(b, t)] = tokens[at(b, t)];
    }
    return out;
  }

  int64_t time;
  std::vector<int32_t> tokens;
  std::vector<float> log_probs;
  std::vector<uint8_t> mask;
};

Decoded sample(Decoder& decoder, int64_t time) {
  Decoded out(time);
  int32_t tokens[kBatch];
  float log_probs[kBatch];
  uint8_t mask[kBatch];
  for (int64_t t = 0; t < time; ++t) {
    REQUIRE(decoder.sample(tokens, log_probs, mask) == SL_STATUS_OK);
    for (int64_t b = 0; b < kBatch; ++b) {
      out.tokens[out.at(b, t)] = tokens[b];
      out.log_probs[out.at(b, t)] = log_probs[b];
      out.mask[out.at(b, t)] = mask[b];
    }
  }
  return out;
}

void check_same(const Decoded& a, const Decoded& b) {
  CHECK(a.tokens == b.tokens);
  CHECK(a.mask == b.mask);
  for (size_t i = 0; i < a.size(); ++i)
    CHECK(a.log_probs[i] == Approx(b.log_probs[i]).margin(1e-4));
}

TEST_CASE("greedy choices are those of the layer's own logits", "[decoder]") {
  const auto layer = make_layer();
  Decoder decoder(layer, options_for());
  Decoded got = sample(decoder, 12);
  for (int64_t b = 0; b < kBatch; ++b) {
    std::vector<int32_t> fed = {1};
    for (int64_t t = 0; t < got.time; ++t) {
      std::vector<float> logits(fed.size() * kTokens);
      sl_sequence y = sequence_layers::sequence(sequence_layers::channel_spec({kTokens}), 1, t + 1,
                                                logits.data());
      layer.apply(sequence_layers::sequence(sequence_layers::channel_spec({}, SL_DTYPE_INT32), 1,
                                            t + 1, fed.data()),
                  &y);
      const auto row = logits.end() - kTokens;
      const auto best = static_cast<int32_t>(std::max_element(row, logits.end()) - row);
      double sum = 0;
      for (auto logit = row; logit != logits.end(); ++logit)
        sum += std::exp(static_cast<double>(*logit));
      CHECK(got.tokens[got.at(b, t)] == best);
      CHECK(got.log_probs[got.at(b, t)] ==
            Approx(static_cast<double>(row[best]) - std::log(sum)).margin(1e-4));
      fed.push_back(best);
    }
  }
}

TEST_CASE("a decoder with unlimited attention to the past decodes up to max_length", "[decoder]") {
  std::string config = kTransformer;
  const std::string local = R"("LocalDotProductSelfAttention","num_heads":2,"units_per_head":4,)"
                            R"("block_size":4,"max_past_horizon":5)";
  config.replace(config.find(local), local.size(),
                 R"("DotProductSelfAttention","num_heads":2,"units_per_head":4,)"
                 R"("max_past_horizon":-1)");
  const auto layer = make_layer(config.c_str());
  auto options = options_for(8);
  CHECK_THROWS_WITH(Decoder(layer, options), Contains("without options.max_length"));
  options.max_length = 30;
  Decoder decoder(layer, options), prefilled(layer, options);
  Decoded got = sample(decoder, 30);
  Decoded scored(got.time);
  sl_sequence out = scored.log_prob_view();
  decoder.log_prob(got.token_view(), &out);
  scored.tokens = got.tokens;
  check_same(scored, got);

  Decoded head = got.before(20);
  prefilled.prefill(head.token_view());
  CHECK_THROWS_WITH(prefilled.prefill(head.token_view()),
                    "the stream has had 20 steps: 20 more are too many for its max_length of 30");
  int32_t tokens[kBatch];
  {
    AllocationTrap trap;
    CHECK(prefilled.sample(tokens) == SL_STATUS_OK);
    CHECK(trap.count() == 0);
  }
  check_same(sample(prefilled, 9), got.after(21));
  for (Decoder* full : {&decoder, &prefilled}) {
    sl_error error = SL_ERROR_INIT;
    CHECK(full->sample(tokens, nullptr, nullptr, nullptr, &error) == SL_STATUS_LENGTH);
    CHECK(std::string(error.message) ==
          "the stream has had 30 steps: 1 more are too many for its max_length of 30");
  }
  decoder.reset();
  CHECK(sample(decoder, 30).tokens == got.tokens);
}

TEST_CASE("log probabilities of sampled tokens equal those computed from the tokens", "[decoder]") {
  const auto layer = make_layer();
  auto options = options_for(8);
  options.stop_token = 2;
  Decoder decoder(layer, options);
  Decoded got = sample(decoder, 20);
  CHECK(std::ranges::count(got.mask, 0) > 0);
  // Tokens after the end are ignored, even if the mask says that they are valid.
  Decoded given = got;
  std::ranges::fill(given.mask, uint8_t{1});
  Decoded scored(got.time);
  sl_sequence out = scored.log_prob_view();
  decoder.log_prob(given.token_view(), &out);
  scored.tokens = got.tokens;
  check_same(scored, got);
}

TEST_CASE("random choices depend on seed, stream and step alone", "[decoder]") {
  const auto layer = make_layer();
  Decoder one(layer, options_for(8, 5)), two(layer, options_for(8, 5)),
      three(layer, options_for(8, 6));
  const Decoded first = sample(one, 30);
  CHECK(sample(two, 30).tokens == first.tokens);
  CHECK(sample(three, 30).tokens != first.tokens);
  one.reset();
  CHECK(sample(one, 30).tokens == first.tokens);
  const auto begin = first.tokens.begin();
  CHECK_FALSE(std::equal(begin, begin + 30, begin + 30));  // streams of one batch differ
  // A smaller batch has the same streams.
  auto options = options_for(8, 5);
  options.batch = 1;
  Decoder alone(layer, options);
  for (int64_t t = 0; t < 30; ++t) {
    int32_t token = 0;
    REQUIRE(alone.sample(&token) == SL_STATUS_OK);
    CHECK(token == first.tokens[first.at(0, t)]);
  }
}

TEST_CASE("top_k and top_p keep the most likely tokens", "[decoder]") {
  const auto layer = make_layer();
  Decoder greedy(layer, options_for());
  const Decoded want = sample(greedy, 15);
  auto options = options_for(3);
  options.top_k = 1;
  Decoder one(layer, options);
  CHECK(sample(one, 15).tokens == want.tokens);
  options = options_for(3);
  options.top_p = 1e-6f;
  Decoder likely(layer, options);
  CHECK(sample(likely, 15).tokens == want.tokens);
}

// A model whose logits are the same at every step, as they come from a bias alone.
TEST_CASE("tokens are drawn as often as their probabilities say", "[decoder]") {
  const float bias[4] = {std::log(0.1f), std::log(0.4f), std::log(0.2f), std::log(0.3f)};
  const std::vector<float> zeros(8, 0.0f);
  sequence_layers::Weights weights;
  const auto add = [&](const char* name, std::vector<int64_t> dims, const float* data) {
    sl_sequence tensor = SL_SEQUENCE_INIT;
    tensor.is_array = 1;
    tensor.rank = static_cast<int32_t>(dims.size());
    std::ranges::copy(dims, tensor.dims);
    tensor.data = const_cast<float*>(data);
    weights.add(name, tensor);
  };
  add("params.e.embedding", {4, 2}, zeros.data());
  add("params.d.kernel", {2, 4}, zeros.data());
  add("params.d.bias", {4}, bias);
  const sequence_layers::Layer layer(
      R"({"type":"Serial","layers":[{"type":"Embedding","dimension":2,"num_embeddings":4,)"
      R"("name":"e"},{"type":"Dense","features":4,"name":"d"}]})",
      weights);
  const auto shares = [&](sl_decoder_options options) {
    Decoder decoder(layer, options);
    constexpr int64_t kSteps = 4000;
    std::vector<double> out(4);
    for (const int32_t token : sample(decoder, kSteps).tokens)
      out[static_cast<size_t>(token)] += 1.0 / (kSteps * kBatch);
    return out;
  };
  const auto check_shares = [&](const sl_decoder_options& options, std::vector<double> want) {
    const auto got = shares(options);
    for (size_t i = 0; i < 4; ++i) CHECK(got[i] == Approx(want[i]).margin(want[i] > 0 ? 0.02 : 0));
  };
  check_shares(options_for(1), {0.1, 0.4, 0.2, 0.3});
  // Squared probabilities, normalized to a sum of 1.
  check_shares(options_for(0.5f), {0.01 / 0.3, 0.16 / 0.3, 0.04 / 0.3, 0.09 / 0.3});
  auto options = options_for(1);
  options.top_k = 3;
  check_shares(options, {0, 0.4 / 0.9, 0.2 / 0.9, 0.3 / 0.9});
  options.top_p = 0.7f;  // applied to the two that top_k leaves: 0.44 and 0.33
  check_shares(options, {0, 0.4 / 0.7, 0, 0.3 / 0.7});
}

TEST_CASE("a stopped stream returns pad tokens and does not affect other streams", "[decoder]") {
  const auto layer = make_layer();
  Decoder endless(layer, options_for(8));
  const Decoded free = sample(endless, 40);
  auto options = options_for(8);
  options.stop_token = 3;
  Decoder decoder(layer, options);
  const Decoded got = sample(decoder, 40);
  std::set<int64_t> ends;
  for (int64_t b = 0; b < kBatch; ++b) {
    bool stopped = false;
    for (int64_t t = 0; t < got.time; ++t) {
      const size_t i = got.at(b, t);
      CHECK(got.tokens[i] == (stopped ? kPad : free.tokens[i]));
      CHECK(got.mask[i] == (stopped ? 0 : 1));
      CHECK((got.log_probs[i] == 0) == stopped);
      if (!stopped && got.tokens[i] == 3) ends.insert(t);
      stopped = stopped || got.tokens[i] == 3;
    }
  }
  CHECK(ends.size() > 1);
}

TEST_CASE("a fork continues as its source does", "[decoder]") {
  const auto layer = make_layer();
  auto options = options_for(8);
  options.stop_token = 3;
  Decoder source(layer, options), fork(layer, options);
  sample(source, 6);
  sample(fork, 3);
  fork.copy_from(source);
  check_same(sample(fork, 20), sample(source, 20));
  options.batch = 1;
  Decoder other(layer, options);
  CHECK_THROWS_AS(other.copy_from(source), sequence_layers::Error);
}

TEST_CASE("a prompt in one call equals its tokens in steps", "[decoder]") {
  const auto layer = make_layer();
  const auto options = options_for(8);
  Decoder stepped(layer, options), prefilled(layer, options);
  const Decoded all = sample(stepped, 40);
  for (const int64_t prompt : {1, 2, 25}) {
    prefilled.reset();
    Decoded head = all.before(prompt);
    prefilled.prefill(head.token_view());
    check_same(sample(prefilled, 40 - prompt), all.after(prompt));
  }
  // The prompt can also come in two calls, with sampled steps between them.
  prefilled.reset();
  Decoded head = all.before(4), next = all.after(6).before(9);
  prefilled.prefill(head.token_view());
  sample(prefilled, 2);
  prefilled.prefill(next.token_view());
  check_same(sample(prefilled, 25), all.after(15));
}

TEST_CASE("a decoder takes a streamed constant in shares per step", "[decoder]") {
  const auto layer = make_layer(
      R"({"type":"Serial","layers":[{"type":"Embedding","dimension":7,"num_embeddings":7},)"
      R"({"type":"Conditioning","conditioning_name":"c","projection":"identity",)"
      R"("combination":"add","streaming":true}]})");
  // Each step favors another token, so that a share at the wrong step would be detected.
  constexpr int64_t kTime = 9, kPrompt = 4;
  std::vector<float> values(kBatch * kTime * kTokens);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * i % 11);
  sl_constant constant{"c", sequence_layers::sequence(sequence_layers::channel_spec({kTokens}),
                                                      kBatch, kTime, values.data())};
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  run.constants = &constant;
  run.num_constants = 1;
  sl_sequence& c = constant.value;
  const sl_sequence whole = c;
  const auto share = [&](int64_t from, int64_t count) {
    c.dims[1] = count;
    c.strides[0] = kTime * kTokens * 4;
    c.strides[1] = kTokens * 4;
    c.strides[2] = 4;
    c.data = values.data() + from * kTokens;
  };
  share(0, 1);
  auto options = options_for(5);
  options.constants = &constant;
  options.num_constants = 1;
  Decoder decoder(layer, options);
  Decoded given(kTime), got(kTime);
  for (size_t i = 0; i < given.size(); ++i) given.tokens[i] = static_cast<int32_t>(i * 5 % 7);
  share(0, kPrompt);
  Decoded head = given.before(kPrompt);
  decoder.prefill(head.token_view(), &run);
  for (int64_t t = kPrompt; t < kTime; ++t) {
    share(t, 1);
    int32_t tokens[kBatch];
    float log_probs[kBatch];
    REQUIRE(decoder.sample(tokens, log_probs, nullptr, &run) == SL_STATUS_OK);
    for (int64_t b = 0; b < kBatch; ++b) {
      given.tokens[given.at(b, t)] = tokens[b];
      given.log_probs[given.at(b, t)] = log_probs[b];
    }
  }
  c = whole;
  sl_sequence out = got.log_prob_view();
  decoder.log_prob(given.token_view(), &out, &run);
  got.tokens = given.tokens;
  check_same(got.after(kPrompt), given.after(kPrompt));
  // The step gets no share of the constant.
  CHECK(decoder.sample(given.tokens.data()) == SL_STATUS_INVALID_ARGUMENT);
}

TEST_CASE("steps of a decoder neither allocate nor lock", "[decoder]") {
  const auto layer = make_layer();
  auto options = options_for(1);
  options.top_k = 5;
  options.top_p = 0.9f;
  Decoder decoder(layer, options), fork(layer, options);
  int32_t tokens[kBatch];
  float log_probs[kBatch];
  uint8_t mask[kBatch];
  sl_status failed = SL_STATUS_OK;
  sl_error error = SL_ERROR_INIT;
  AllocationTrap trap;
  for (int i = 0; i < 100; ++i) {
    failed |= decoder.sample(tokens, log_probs, mask, nullptr, &error);
    failed |= sl_decoder_copy(fork.get(), decoder.get(), &error);
  }
  failed |= sl_decoder_reset(decoder.get(), &error);
  const int64_t count = trap.count();
  CHECK(failed == SL_STATUS_OK);
  CHECK(count == 0);
}

TEST_CASE("a decoder refuses invalid options, tokens and layers", "[decoder]") {
  const auto layer = make_layer();
  const auto refused = [&](auto&& change, sl_status status, const char* message) {
    auto options = options_for();
    change(options);
    sl_decoder* made = nullptr;
    const Failure failure =
        failure_of([&](sl_error* e) { return sl_decoder_create(layer.get(), &options, &made, e); });
    CHECK(failure.status == status);
    CHECK_THAT(failure.message, Contains(message));
    CHECK(made == nullptr);
  };
  using Options = sl_decoder_options;
  constexpr sl_status kBad = SL_STATUS_INVALID_ARGUMENT;
  refused([](Options& o) { o.struct_size = 1; }, kBad, "struct_size is 1");
  refused([](Options& o) { o.batch = -1; }, kBad, "batch is -1");
  refused([](Options& o) { o.start_token = -1; }, kBad, "start_token is -1");
  refused([](Options& o) { o.stop_token = 7; }, kBad, "stop_token is 7: the model has 7 tokens");
  refused([](Options& o) { o.stop_token = -2; }, kBad, "stop_token is -2");
  refused([](Options& o) { o.stop_token = 2, o.stop_at_zero = 1; }, kBad, "stop_token is 2");
  refused([](Options& o) { o.temperature = -1; }, kBad, "temperature is -1");
  refused([](Options& o) { o.temperature = NAN; }, kBad, "temperature is nan");
  refused([](Options& o) { o.top_p = -0.5f; }, kBad, "top_p is -0.5");
  refused([](Options& o) { o.top_k = -1; }, kBad, "top_k is -1");

  const auto made_of = [](const char* config) {
    const auto model = make_layer(config);
    Decoder decoder(model, options_for());
  };
  CHECK_THROWS_WITH(made_of(R"({"type":"Embedding","dimension":8,"num_embeddings":7,)"
                            R"("compute_dtype":"bfloat16"})"),
                    Contains("a decoder needs logits float32[vocabulary]"));
  CHECK_THROWS_WITH(made_of(R"({"type":"Serial","layers":[{"type":"Embedding","dimension":8,)"
                            R"("num_embeddings":7},{"type":"Lookahead","length":1}]})"),
                    Contains("no latency"));

  Decoder decoder(layer, options_for());
  Decoded given(2), out(3);
  sl_sequence y = out.log_prob_view();
  CHECK_THROWS_WITH(decoder.log_prob(given.token_view(), &y), Contains("log_probs is"));
  CHECK_THROWS_WITH(decoder.prefill(given.log_prob_view()), Contains("expected int32"));
  given.tokens[1] = 7;
  y = given.log_prob_view();
  CHECK_THROWS_WITH(decoder.log_prob(given.token_view(), &y),
                    Contains("tokens[0, 1] is 7: the model has 7 tokens"));
  CHECK(decoder.sample(nullptr) == kBad);
}

}  // namespace
}  // namespace sl::testing
