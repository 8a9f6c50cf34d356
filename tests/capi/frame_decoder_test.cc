// Tests decoders of models that choose several tokens a step.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "sequence_layers/sequence_layers.hpp"
#include "support/models.h"
#include "testing/trap.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using sequence_layers::Decoder;

constexpr int64_t kParts = 3, kSize = 5, kReserved = 2, kTokens = kReserved + kParts * kSize;
constexpr int64_t kConditioning = 8;

// A temporal body that sees five frames of past and a streamed source, and a depth body. If
// `own_logits`, each token has its own last layer.
std::string config_of(bool own_logits, const std::string& fields = "") {
  const std::string last =
      own_logits ? R"({"type":"SequenceDense","features":5,"num_steps":3,"name":"logits"})"
                 : R"({"type":"Dense","features":17,"name":"logits"})";
  return R"({"type":"MultivariateDecoder","sos_id":0,"num_reserved_tokens":2,"codebook_size":5,)"
         R"("num_codebooks":3,"soft_cap_logits":20,"codebook_logits":)" +
         std::string(own_logits ? "true" : "false") + fields +
         R"(,"embedder":{"type":"Serial","layers":[)"
         R"({"type":"Embedding","dimension":8,"num_embeddings":17},{"type":"Scale","scale":8}]},)"
         R"("temporal_body":{"type":"Serial","layers":[{"type":"Residual","layers":[)"
         R"({"type":"LocalDotProductSelfAttention","num_heads":2,"units_per_head":4,"block_size":4,)"
         R"("max_past_horizon":5,"max_future_horizon":0},{"type":"Flatten"},)"
         R"({"type":"Dense","features":8,"name":"out"}]},)"
         R"({"type":"Conditioning","conditioning_name":"source","projection":"identity",)"
         R"("combination":"add","streaming":true}]},)"
         R"("depth_body":{"type":"Serial","layers":[{"type":"Residual","layers":[)"
         R"({"type":"LocalDotProductSelfAttention","num_heads":2,"units_per_head":4,"block_size":3,)"
         R"("max_past_horizon":3,"max_future_horizon":0},{"type":"Flatten"},)"
         R"({"type":"Dense","features":8,"name":"out"}]},)" +
         last + "]}}";
}

sequence_layers::Layer make_layer(bool own_logits = false, const std::string& fields = "") {
  std::mt19937 rng(1);
  const std::string config = config_of(own_logits, fields);
  return {config, make_weights(config, {{"", {8, {}, {}}}}, rng)};
}

// Tokens of frames, and the conditioning of all items of the model.
struct Frames {
  Frames(int64_t items, int64_t time) : items(items), time(time) {
    source.resize(static_cast<size_t>(items * time * kConditioning));
    std::mt19937 rng(static_cast<uint32_t>(items));
    for (float& value : source) value = std::normal_distribution<float>(0, 2)(rng);
  }

  sl_constant constant(int64_t t, int64_t count) {
    part.resize(static_cast<size_t>(items * count * kConditioning));
    for (int64_t b = 0; b < items; ++b) {
      std::copy_n(source.begin() + (b * time + t) * kConditioning, count * kConditioning,
                  part.begin() + b * count * kConditioning);
    }
    sl_constant out{};
    out.name = "source";
    out.value = sequence_layers::sequence(sequence_layers::channel_spec({kConditioning}), items,
                                          count, part.data());
    return out;
  }

  int64_t items, time;
  std::vector<float> source, part;
};

sl_sequence token_view(int64_t batch, int64_t time, int32_t* tokens) {
  return sequence_layers::sequence(sequence_layers::channel_spec({kParts}, SL_DTYPE_INT32), batch,
                                   time, tokens);
}

sl_decoder_options options_for(int64_t batch, const sl_constant* constant) {
  sl_decoder_options options = SL_DECODER_OPTIONS_INIT;
  options.batch = batch;
  options.constants = constant;
  options.num_constants = 1;
  return options;
}

// Samples the frames [from, to).
std::vector<int32_t> sample(Decoder& decoder, Frames& frames, int64_t batch, int64_t from,
                            int64_t to, std::vector<float>* log_probs = nullptr) {
  std::vector<int32_t> tokens;
  for (int64_t t = from; t < to; ++t) {
    std::vector<int32_t> frame(static_cast<size_t>(batch * kParts));
    std::vector<float> probs(frame.size());
    const sl_constant constant = frames.constant(t, 1);
    sl_run_options run = SL_RUN_OPTIONS_INIT;
    run.constants = &constant;
    run.num_constants = 1;
    sl_error error = SL_ERROR_INIT;
    INFO(error.message);
    REQUIRE(decoder.sample(frame.data(), probs.data(), nullptr, &run, &error) == SL_STATUS_OK);
    tokens.insert(tokens.end(), frame.begin(), frame.end());
    if (log_probs) log_probs->insert(log_probs->end(), probs.begin(), probs.end());
  }
  return tokens;
}

// The logits [time, parts, vocabulary] of one item's frames by a layer-wise run.
std::vector<float> logits_of(const sequence_layers::Layer& layer, Frames& frames, int64_t item,
                             std::vector<int32_t> tokens, int64_t vocabulary) {
  const auto time = static_cast<int64_t>(tokens.size()) / kParts;
  Frames one(1, time);
  one.source.assign(frames.source.begin() + item * frames.time * kConditioning,
                    frames.source.begin() + (item * frames.time + time) * kConditioning);
  const sl_constant constant = one.constant(0, time);
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  run.constants = &constant;
  run.num_constants = 1;
  std::vector<float> logits(static_cast<size_t>(time * kParts * vocabulary));
  sl_sequence y = sequence_layers::sequence(sequence_layers::channel_spec({kParts, vocabulary}), 1,
                                            time, logits.data());
  layer.apply(token_view(1, time, tokens.data()), &y, &run);
  return logits;
}

// The first of the most likely tokens of a part, and its log probability.
std::pair<int32_t, double> best_of(const float* possible, int64_t part) {
  const float* best = std::max_element(possible, possible + kSize);
  double sum = 0;
  for (int64_t i = 0; i < kSize; ++i) sum += std::exp(static_cast<double>(possible[i] - *best));
  return {static_cast<int32_t>(kReserved + part * kSize + (best - possible)), -std::log(sum)};
}

TEST_CASE("greedy frames are those of the layer's own logits", "[frame_decoder]") {
  const bool own_logits = GENERATE(false, true);
  const auto layer = make_layer(own_logits);
  const int64_t batch = 2, time = 9, vocabulary = own_logits ? kSize : kTokens;
  Frames frames(batch, time);
  const sl_constant spec = frames.constant(0, 1);
  Decoder decoder(layer, options_for(batch, &spec));
  std::vector<float> log_probs;
  const std::vector<int32_t> got = sample(decoder, frames, batch, 0, time, &log_probs);
  for (int64_t b = 0; b < batch; ++b) {
    std::vector<int32_t> own;
    for (int64_t t = 0; t < time; ++t) {
      const auto first = got.begin() + (t * batch + b) * kParts;
      own.insert(own.end(), first, first + kParts);
    }
    const std::vector<float> logits = logits_of(layer, frames, b, own, vocabulary);
    for (int64_t t = 0; t < time; ++t) {
      for (int64_t part = 0; part < kParts; ++part) {
        const float* row = logits.data() + (t * kParts + part) * vocabulary;
        const auto [token, log_prob] =
            best_of(row + (own_logits ? 0 : kReserved + part * kSize), part);
        CHECK(own[static_cast<size_t>(t * kParts + part)] == token);
        CHECK(log_probs[static_cast<size_t>((t * batch + b) * kParts + part)] ==
              Approx(log_prob).margin(1e-4));
      }
    }
  }
}

TEST_CASE("negatives push logits away from theirs", "[frame_decoder]") {
  const auto layer = make_layer();
  const int64_t time = 6;
  const float guidance[] = {2.5f, -0.5f};
  Frames frames(3, time);
  const sl_constant spec = frames.constant(0, 1);
  sl_decoder_options options = options_for(1, &spec);
  options.num_negatives = 2;
  options.guidance = guidance;
  Decoder decoder(layer, options);
  const std::vector<int32_t> got = sample(decoder, frames, 1, 0, time);
  std::vector<float> logits[3];
  for (int64_t i = 0; i < 3; ++i) logits[i] = logits_of(layer, frames, i, got, kTokens);
  for (int64_t k = 0; k < time * kParts; ++k) {
    const int64_t part = k % kParts;
    float guided[kSize];
    for (int64_t i = 0; i < kSize; ++i) {
      const auto at = static_cast<size_t>(k * kTokens + kReserved + part * kSize + i);
      const float own = logits[0][at];
      guided[i] = own + 2.5f * (own - logits[1][at]) - 0.5f * (own - logits[2][at]);
    }
    CHECK(got[static_cast<size_t>(k)] == best_of(guided, part).first);
  }
  // Guidance must change something here, or this test shows nothing.
  Frames alone(1, time);
  std::copy_n(frames.source.begin(), alone.source.size(), alone.source.begin());
  const sl_constant one = alone.constant(0, 1);
  Decoder plain(layer, options_for(1, &one));
  CHECK(sample(plain, alone, 1, 0, time) != got);
}

TEST_CASE("frames continue after a prefill, a fork and a saved slot", "[frame_decoder]") {
  const auto layer = make_layer();
  const int64_t time = 10, prompt = 6, negatives = GENERATE(0, 1);
  const float guidance[] = {1.5f};
  Frames frames(1 + negatives, time);
  const sl_constant spec = frames.constant(0, 1);
  sl_decoder_options options = options_for(1, &spec);
  options.temperature = 0.8f;
  options.top_k = 4;
  options.seed = 7;
  options.num_negatives = negatives;
  options.guidance = guidance;
  Decoder decoder(layer, options);
  std::vector<int32_t> whole = sample(decoder, frames, 1, 0, time);
  const std::vector<int32_t> rest(whole.begin() + prompt * kParts, whole.end());

  Decoder other(layer, options);
  const sl_constant given = frames.constant(0, prompt);
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  run.constants = &given;
  run.num_constants = 1;
  other.prefill(token_view(1, prompt, whole.data()), &run);
  Decoder fork(layer, options), loaded(layer, options);
  fork.copy_slot_from(0, other, 0);
  std::vector<std::byte> saved(other.save_slot_size());
  other.save_slot(0, saved.data(), saved.size());
  options.seed = 1;
  loaded.load_slot(0, saved.data(), saved.size());
  CHECK(sample(other, frames, 1, prompt, time) == rest);
  CHECK(sample(fork, frames, 1, prompt, time) == rest);
  CHECK(sample(loaded, frames, 1, prompt, time) == rest);
  saved.back() ^= std::byte{1};
  CHECK_THROWS(loaded.load_slot(0, saved.data(), saved.size()));
}

TEST_CASE("slots give the frames of decoders of their own", "[frame_decoder]") {
  const auto layer = make_layer();
  const int64_t time = 7;
  const float guidance[] = {1.0f}, other_guidance[] = {3.0f};
  Frames frames(4, time);
  const sl_constant spec = frames.constant(0, 1);
  sl_decoder_options options = options_for(2, &spec);
  options.num_negatives = 1;
  options.guidance = guidance;
  options.temperature = 1;
  Decoder decoder(layer, options);
  options.seed = 5;
  options.guidance = other_guidance;
  decoder.start_slot(1, &options);
  const std::vector<int32_t> both = sample(decoder, frames, 2, 0, time);

  Frames alone(2, time);
  std::copy_n(frames.source.begin() + 2 * time * kConditioning, alone.source.size(),
              alone.source.begin());
  const sl_constant one = alone.constant(0, 1);
  options.batch = 1;
  options.constants = &one;
  Decoder single(layer, options);
  const std::vector<int32_t> own = sample(single, alone, 1, 0, time);
  for (int64_t t = 0; t < time; ++t) {
    for (int64_t k = 0; k < kParts; ++k) {
      CHECK(both[static_cast<size_t>((2 * t + 1) * kParts + k)] ==
            own[static_cast<size_t>(t * kParts + k)]);
    }
  }
}

TEST_CASE("a caller chooses tokens by their logits", "[frame_decoder]") {
  const auto layer = make_layer();
  Frames frames(1, 4);
  const sl_constant spec = frames.constant(0, 1);
  sl_decoder_options options = options_for(1, &spec);
  // The least likely token, but for the second part of a step.
  options.choose = [](void* data, int64_t slot, int64_t part, const float* logits, int64_t count) {
    ++*static_cast<int64_t*>(data);
    if (part == 1 || slot != 0) return int64_t{-1};
    return int64_t{std::min_element(logits, logits + count) - logits};
  };
  int64_t calls = 0;
  options.choose_data = &calls;
  Decoder decoder(layer, options);
  const std::vector<int32_t> got = sample(decoder, frames, 1, 0, 4);
  CHECK(calls == 4 * kParts);
  const std::vector<float> logits = logits_of(layer, frames, 0, got, kTokens);
  for (int64_t k = 0; k < 4 * kParts; ++k) {
    const float* possible = logits.data() + k * kTokens + kReserved + k % kParts * kSize;
    const auto index = k % kParts == 1 ? std::max_element(possible, possible + kSize) - possible
                                       : std::min_element(possible, possible + kSize) - possible;
    CHECK(got[static_cast<size_t>(k)] == kReserved + k % kParts * kSize + index);
  }
}

// How often each token of the first part is drawn as the first one of a stream.
std::vector<double> shares_of_first_token(const sequence_layers::Layer& layer,
                                          const sl_decoder_options& options, Frames& frames) {
  constexpr int kDraws = 4000;
  Decoder decoder(layer, options);
  std::vector<double> shares(kSize);
  for (int i = 0; i < kDraws; ++i) {
    sl_decoder_options choices = options;
    choices.seed = static_cast<uint64_t>(i);
    decoder.start_slot(0, &choices);
    const auto token = sample(decoder, frames, 1, 0, 1)[0] - kReserved;
    shares[static_cast<size_t>(token)] += 1.0 / kDraws;
  }
  return shares;
}

TEST_CASE("a config lets the temperature act on the tokens that top_p keeps", "[frame_decoder]") {
  Frames frames(1, 1);
  const sl_constant spec = frames.constant(0, 1);
  sl_decoder_options options = options_for(1, &spec);
  const bool last = GENERATE(false, true);
  const auto layer = make_layer(false, last ? R"(,"temperature_last":true)" : "");
  const std::vector<int32_t> none(kParts);
  const std::vector<float> logits = logits_of(layer, frames, 0, none, kTokens);
  const std::vector<float> own(logits.begin() + kReserved, logits.begin() + kReserved + kSize);
  const auto softmax = [&](double temperature) {
    std::vector<double> result;
    for (const float logit : own)
      result.push_back(std::exp(static_cast<double>(logit) / temperature));
    const double sum = std::accumulate(result.begin(), result.end(), 0.0);
    for (double& value : result) value /= sum;
    return result;
  };
  // The most likely token is sufficient before the temperature acts, and not after it.
  const std::vector<double> cold = softmax(1), hot = softmax(50);
  const auto best = static_cast<size_t>(std::max_element(own.begin(), own.end()) - own.begin());
  options.temperature = 50;
  options.top_p = 0.99f * static_cast<float>(cold[best]);
  REQUIRE(options.top_p > static_cast<float>(hot[best]) + 0.05f);
  const std::vector<double> got = shares_of_first_token(layer, options, frames);
  CHECK((got[best] == Approx(1)) == last);
}

TEST_CASE("steps of frames do not allocate", "[frame_decoder]") {
  const auto layer = make_layer();
  Frames frames(2, 3);
  const float guidance[] = {1.0f};
  const sl_constant spec = frames.constant(0, 1);
  sl_decoder_options options = options_for(1, &spec);
  options.num_negatives = 1;
  options.guidance = guidance;
  options.temperature = 1;
  options.top_k = 3;
  Decoder decoder(layer, options);
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  run.constants = &spec;
  run.num_constants = 1;
  int32_t tokens[kParts];
  float log_probs[kParts];
  const AllocationTrap trap;
  for (int i = 0; i < 3; ++i)
    REQUIRE(decoder.sample(tokens, log_probs, nullptr, &run) == SL_STATUS_OK);
  CHECK(trap.count() == 0);
}

TEST_CASE("log probabilities of given frames are those of sampling", "[frame_decoder]") {
  const auto layer = make_layer();
  const int64_t time = 5;
  Frames frames(1, time);
  const sl_constant spec = frames.constant(0, 1);
  Decoder decoder(layer, options_for(1, &spec));
  std::vector<float> want, got(static_cast<size_t>(time * kParts));
  std::vector<int32_t> tokens = sample(decoder, frames, 1, 0, time, &want);
  sl_sequence y =
      sequence_layers::sequence(sequence_layers::channel_spec({kParts}), 1, time, got.data());
  const sl_constant given = frames.constant(0, time);
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  run.constants = &given;
  run.num_constants = 1;
  decoder.log_prob(token_view(1, time, tokens.data()), &y, &run);
  for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == Approx(want[i]).margin(1e-4));
  tokens[0] = kReserved + kSize;  // of the second codebook
  decoder.log_prob(token_view(1, time, tokens.data()), &y, &run);
  CHECK(got[0] == -INFINITY);
}

TEST_CASE("decoders refuse what their model cannot do", "[frame_decoder]") {
  const auto layer = make_layer();
  Frames frames(1, 2);
  const sl_constant spec = frames.constant(0, 1);
  sl_decoder_options options = options_for(1, &spec);
  options.stop_token = 3;
  CHECK_THROWS_WITH(Decoder(layer, options), Contains("no stop token"));
  options.stop_token = 0;
  options.num_negatives = 9;
  CHECK_THROWS_WITH(Decoder(layer, options), Contains("expected 0 to 8"));
  options.num_negatives = 0;
  Decoder decoder(layer, options);
  const sl_constant given = frames.constant(0, 2);
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  run.constants = &given;
  run.num_constants = 1;
  std::vector<int32_t> tokens(2 * kParts, kTokens);
  CHECK_THROWS_WITH(decoder.prefill(token_view(1, 2, tokens.data()), &run),
                    Contains("the model has 17 tokens"));
}

}  // namespace
}  // namespace sl::testing
