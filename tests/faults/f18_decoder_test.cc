// Fault 18: a decoder accepted tokens that its model does not have, and logits that are NaN, and
// sampled plausible tokens from them. top_p kept one token too many.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "faults/faults.h"
#include "sequence_layers/sequence_layers.hpp"
#include "support/models.h"
#include "testing/trap.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using sequence_layers::Decoder;

sequence_layers::Layer open_model(const char* name) {
  return sequence_layers::Layer::open(fault_input(std::string("models/") + name).c_str());
}

// A model whose logits are a row of a table, chosen by the previous token.
sequence_layers::Layer table_model(const std::vector<float>& rows, int64_t tokens,
                                   const char* layers = R"({"type":"Identity"})") {
  sequence_layers::Weights weights;
  sl_sequence tensor = SL_SEQUENCE_INIT;
  tensor.is_array = 1;
  tensor.rank = 2;
  tensor.dims[0] = static_cast<int64_t>(rows.size()) / tokens;
  tensor.dims[1] = tokens;
  tensor.data = const_cast<float*>(rows.data());
  weights.add("params.e.embedding", tensor);
  const std::string config = std::string(R"({"type":"Serial","layers":[)") + layers +
                             R"(,{"type":"Embedding","name":"e","dimension":)" +
                             std::to_string(tokens) + R"(,"num_embeddings":)" +
                             std::to_string(tensor.dims[0]) + "}]}";
  return {config, weights};
}

sl_decoder_options options_for(int32_t start, int64_t batch = 1) {
  sl_decoder_options options = SL_DECODER_OPTIONS_INIT;
  options.start_token = start;
  options.batch = batch;
  return options;
}

sl_sequence view_of(std::vector<int32_t>& tokens, int64_t batch = 1, uint8_t* mask = nullptr) {
  return sequence_layers::sequence(sequence_layers::channel_spec({}, SL_DTYPE_INT32), batch,
                                   static_cast<int64_t>(tokens.size()) / batch, tokens.data(),
                                   mask);
}

Failure prefill(Decoder& decoder, std::vector<int32_t> tokens, uint8_t* mask = nullptr) {
  const sl_sequence view = view_of(tokens, 1, mask);
  return failure_of(
      [&](sl_error* e) { return sl_decoder_prefill(decoder.get(), &view, nullptr, e); });
}

TEST_CASE("fault 18: tokens that the model does not have are refused", "[f18]") {
  const auto layer = open_model("tokens");
  Decoder decoder(layer, options_for(0)), other(layer, options_for(0));
  for (const int32_t token : {50, 12, -1, INT32_MAX, INT32_MIN}) {
    const Failure failure = prefill(decoder, {3, token});
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK(failure.message ==
          "tokens[0, 1] is " + std::to_string(token) + ": the model takes 12 tokens");
  }
  // The decoder continues as if the failed call had not been made.
  CHECK(prefill(decoder, {3, 11}).status == SL_STATUS_OK);
  CHECK(prefill(other, {3, 11}).status == SL_STATUS_OK);
  int32_t token = -1, same = -2;
  CHECK(decoder.sample(&token) == SL_STATUS_OK);
  CHECK(other.sample(&same) == SL_STATUS_OK);
  CHECK(token == same);
  uint8_t mask[] = {1, 0};
  CHECK(prefill(decoder, {3, 50}, mask).status == SL_STATUS_OK);  // a masked token is ignored

  for (const int32_t start : {99, 12, INT32_MAX}) {
    CHECK_THROWS_WITH(
        Decoder(layer, options_for(start)),
        "options.start_token is " + std::to_string(start) + ": the model takes 12 tokens");
  }
  CHECK_NOTHROW(Decoder(layer, options_for(11)));
}

// The start token often has its own row of the table, to which no logit corresponds.
TEST_CASE("fault 18: a model can have input tokens that are not outputs", "[f18]") {
  const std::vector<float> rows(5 * 4, 0.5f);
  for (const char* before : {R"({"type":"Identity"})", R"({"type":"Dropout","rate":0.1})"}) {
    const auto layer = table_model(rows, 4, before);
    CHECK_THROWS_WITH(Decoder(layer, options_for(5)), Contains("the model takes 5 tokens"));
    Decoder decoder(layer, options_for(4));
    CHECK(prefill(decoder, {4}).status == SL_STATUS_OK);
    CHECK_THAT(prefill(decoder, {5}).message, Contains("the model takes 5 tokens"));
    std::vector<int32_t> tokens = {4};
    std::vector<float> log_probs(1);
    sl_sequence out =
        sequence_layers::sequence(sequence_layers::channel_spec({}), 1, 1, log_probs.data());
    CHECK_THROWS_WITH(decoder.log_prob(view_of(tokens), &out),
                      "tokens[0, 0] is 4: the model has 4 tokens");
    sl_decoder_options options = options_for(0);
    options.stop_token = 4;
    CHECK_THROWS_WITH(Decoder(layer, options), Contains("options.stop_token is 4"));
    options.stop_token = 3;
    options.pad_token = -100;  // pad tokens are never an input
    CHECK_NOTHROW(Decoder(layer, options));
  }
  const sequence_layers::Weights none;
  const sequence_layers::Layer one_hot(
      R"({"type":"Serial","layers":[{"type":"OneHot","depth":6}]})", none);
  CHECK_THROWS_WITH(Decoder(one_hot, options_for(6)), Contains("the model takes 6 tokens"));
}

TEST_CASE("fault 18: logits that are NaN are an error", "[f18]") {
  for (const float temperature : {0.0f, 1.0f}) {
    const auto layer = open_model("nan");
    sl_decoder_options options = options_for(0);
    options.temperature = temperature;
    Decoder decoder(layer, options);
    int32_t token = 77;
    float log_prob = 77;
    uint8_t mask = 77;
    for (int i = 0; i < 2; ++i) {  // the error remains if sample is called again
      const Failure failure = failure_of([&](sl_error* e) {
        return sl_decoder_sample(decoder.get(), &token, &log_prob, &mask, nullptr, e);
      });
      CHECK(failure.status == SL_STATUS_UNSUPPORTED);
      CHECK(failure.message == "the model's logits of stream 0 at step 0 are NaN");
      CHECK((token == 0 && std::isnan(log_prob) && mask == 0));  // nothing was chosen
    }
    std::vector<int32_t> tokens = {1, 2};
    std::vector<float> log_probs(2);
    sl_sequence out =
        sequence_layers::sequence(sequence_layers::channel_spec({}), 1, 2, log_probs.data());
    CHECK_THROWS_WITH(decoder.log_prob(view_of(tokens), &out),
                      "the model's logits for tokens[0, 0] are NaN");
  }
}

// After token 1 one logit is NaN, after token 2 no token is possible, after token 3 the best logit
// is infinite.
sequence_layers::Layer faulty_model() {
  constexpr float kInf = INFINITY;
  return table_model({0, 0, 0, 1, 5, NAN, 0, 0, -kInf, -kInf, -kInf, -kInf, 0, kInf, 0, -kInf}, 4);
}

TEST_CASE("fault 18: an error of a step lasts until a reset or a copy", "[f18]") {
  const auto layer = faulty_model();
  Decoder decoder(layer, options_for(0)), good(layer, options_for(0)), fork(layer, options_for(0));
  int32_t token = 0;
  CHECK(prefill(decoder, {1}).status == SL_STATUS_OK);
  CHECK(decoder.sample(&token) == SL_STATUS_UNSUPPORTED);
  CHECK(decoder.sample(&token) == SL_STATUS_UNSUPPORTED);
  CHECK_THAT(prefill(decoder, {0}).message, Contains("logits of stream 0 at step 1 are NaN"));
  fork.copy_from(decoder);
  CHECK(fork.sample(&token) == SL_STATUS_UNSUPPORTED);
  fork.copy_from(good);
  CHECK(fork.sample(&token) == SL_STATUS_OK);
  CHECK(token == 3);
  decoder.reset();
  CHECK(decoder.sample(&token) == SL_STATUS_OK);
  CHECK(token == 3);
  float log_prob = 0;
  CHECK(decoder.sample(&token, &log_prob) ==
        SL_STATUS_OK);  // an infinite logit leaves all others without a chance
  CHECK(token == 1);
  CHECK(log_prob == 0);

  Decoder impossible(layer, options_for(2));
  const Failure failure = failure_of([&](sl_error* e) {
    return sl_decoder_sample(impossible.get(), &token, nullptr, nullptr, nullptr, e);
  });
  CHECK(failure.status == SL_STATUS_UNSUPPORTED);
  CHECK_THAT(failure.message, Contains("are all minus infinity"));
}

TEST_CASE("fault 18: one bad stream of a batch is an error, unless it has ended", "[f18]") {
  const auto layer = faulty_model();
  sl_decoder_options options = options_for(0, 2);
  options.stop_token = 3;
  Decoder decoder(layer, options);
  std::vector<int32_t> prompt = {0, 1};
  decoder.prefill(view_of(prompt, 2));
  int32_t tokens[2] = {};
  const Failure failure = failure_of([&](sl_error* e) {
    return sl_decoder_sample(decoder.get(), tokens, nullptr, nullptr, nullptr, e);
  });
  CHECK(failure.message == "the model's logits of stream 1 at step 1 are NaN");
  decoder.reset();
  // Both streams stop at once.
  for (int i = 0; i < 3; ++i) CHECK(decoder.sample(tokens) == SL_STATUS_OK);
}

TEST_CASE("fault 18: top_p keeps no more tokens than it needs", "[f18]") {
  const auto layer = open_model("top_p");
  const auto drawn = [&](float top_p) {
    std::vector<int> count(3);
    sl_decoder_options options = options_for(0);
    options.temperature = 1;
    options.top_p = top_p;
    Decoder decoder(layer, options);
    for (int i = 0; i < 500; ++i) {
      int32_t token = 0;
      REQUIRE(decoder.sample(&token) == SL_STATUS_OK);
      ++count[static_cast<size_t>(token)];
    }
    return count;
  };
  // The probabilities are 0.5, 0.25 and 0.25.
  CHECK(drawn(0.5f) == std::vector<int>{500, 0, 0});
  CHECK(drawn(0.75f)[2] == 0);
  CHECK(drawn(0.75f)[1] > 100);
  CHECK(drawn(0.76f)[2] > 50);
  CHECK(drawn(1)[2] > 50);
}

TEST_CASE("fault 18: steps with the check are still real-time", "[f18]") {
  const auto layer = table_model(std::vector<float>(5 * 4, 0.5f), 4);
  Decoder decoder(layer, options_for(0));
  int32_t token = 0;
  AllocationTrap trap;
  const sl_status status = decoder.sample(&token);
  const int64_t count = trap.count();
  CHECK(status == SL_STATUS_OK);
  CHECK(count == 0);
}

}  // namespace
}  // namespace sl::testing
