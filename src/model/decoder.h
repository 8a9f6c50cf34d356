// Autoregressive decoding: samples a token from the logits of a model and feeds it back as the next
// input.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/sampling.h"
#include "model/stream.h"

namespace sl {

// How the tokens of a stream are chosen.
struct Choices {
  int32_t start_token = 0;
  int32_t stop_token = -1;  // -1: no stop token
  int32_t pad_token = 0;
  uint64_t seed = 0;
  Sampling sampling;
};

struct DecoderOptions {
  Choices choices;
  int64_t max_length = 0;  // maximum length of the stream; 0: unlimited
};

class Decoder {
 public:
  // Fails unless the model maps tokens to logits [batch, time, vocabulary] step by step and without
  // latency.
  Decoder(const Model& model, const DecoderOptions& options, int64_t batch,
          std::span<const View> constants, std::span<const std::string> constant_names,
          const Allocator& allocator);

  // The stream under the decoder, whose constants are set before prefill and sample.
  Stream& stream() { return stream_; }
  int64_t batch() const { return stream_.plan().input().batch; }

  // Runs take place as `parallel` says; null: layer-wise ones as the model's, steps on the calling
  // thread.

  // Writes the log probabilities of whole sequences of tokens and, if `out` has one, their mask.
  // Both views are [batch, time]. Runs layer-wise.
  void log_prob(Workspace& workspace, const View& tokens, const Constants& constants,
                const View& out, const Parallel* parallel = nullptr) const;
  // Continues the slots, or all, as if `tokens` had been sampled.
  void prefill(const Slots& slots, const View& tokens, const Parallel* parallel = nullptr);
  // Real-time. Samples one token for each of the slots, with its log probability and mask, which
  // both may be null. Logits that define no probabilities are an error, after all other streams
  // have their token, and every later call for the slot fails before it changes anything, until the
  // slot begins again or becomes a copy: its stream has already taken the step.
  void sample(const Slots& slots, int32_t* tokens, float* log_probs, uint8_t* mask,
              const Parallel* parallel = nullptr);
  // Real-time. Takes over the stream and tokens of `source`, but keeps this decoder's choices.
  void copy_from(const Decoder& source);
  // Real-time. Makes a slot continue where one of `source` stands, with its choices.
  void copy_slot(int64_t slot, const Decoder& source, int64_t source_slot);
  void reset();
  // Real-time. Sets a slot to its start with choices of its own, as the only stream of a decoder
  // has them, or with those that it has had from the beginning.
  void start_slot(int64_t slot, const Choices& choices);
  void reset_slot(int64_t slot);
  // Fails unless the model has the tokens of the choices.
  void check(const Choices& choices) const;
  // Real-time. A slot as bytes, with its choices.
  size_t save_slot_bytes() const;
  void save_slot(int64_t slot, std::byte* out) const;
  void load_slot(int64_t slot, const std::byte* in, size_t size);

 private:
  // A stream of tokens. Saved as it is.
  struct TokenStream {
    Choices choices;
    uint64_t index = 0;  // of the stream, for its random numbers
    uint64_t step = 0;
    int32_t last = 0;                // token that is its next input
    uint8_t live = 1;                // 0 after its stop token
    Logits verdict = Logits::kGood;  // of the last step's logits
  };

  Decoder(StreamPlan plan, const DecoderOptions& options, const Allocator& allocator);
  std::span<const float> logits_of(int64_t item) const;
  TokenStream& stream_of(int64_t slot) { return streams_[static_cast<size_t>(slot)]; }
  const TokenStream& stream_of(int64_t slot) const { return streams_[static_cast<size_t>(slot)]; }
  // A stream at its start.
  static TokenStream started(const Choices& choices, uint64_t index);
  // Fails if the last step of one of the slots has made no probabilities.
  void check_verdicts(const Slots& slots) const;
  // Gives the step's logits of item b to the stream of a slot.
  void take(int64_t b, TokenStream& stream, int32_t* token, float* log_prob, uint8_t* mask);

  Choices choices_;
  Block memory_;
  Stream stream_;
  int64_t vocabulary_;            // number of logits
  int64_t input_vocabulary_ = 0;  // number of input tokens; vocabulary_ if no layer tells
  bool knows_inputs_ = false;     // whether a layer tells
  // These vectors keep their sizes, so that steps do not allocate.
  std::vector<float> logits_;
  std::vector<Candidate> candidates_;
  std::vector<TokenStream> streams_;  // of each slot
  std::vector<int32_t> inputs_;       // of the items of a step, with their mask
  std::vector<uint8_t> live_;
};

}  // namespace sl
