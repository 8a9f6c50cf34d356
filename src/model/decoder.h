// Autoregressive decoding: samples a token from the logits of a model and feeds it back as the next
// input.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "layers/token_parts.h"
#include "model/sampling.h"
#include "model/stream.h"

namespace sl {

// The maximum number of negatives that guide a stream.
constexpr int64_t kMaxNegatives = 8;

// How the tokens of a stream are chosen.
struct Choices {
  int32_t start_token = 0;
  int32_t stop_token = -1;  // -1: no stop token
  int32_t pad_token = 0;
  uint64_t seed = 0;
  Sampling sampling;
  // How far each negative pushes the logits away from its own.
  std::array<float, kMaxNegatives> guidance{};
};

// Chooses one of `count` logits of a part of a slot's step; a negative result leaves the choice to
// the decoder. Real-time.
using ChooseHook = int64_t (*)(void* user_data, int64_t slot, int64_t part, const float* logits,
                               int64_t count);

struct DecoderOptions {
  Choices choices;
  int64_t max_length = 0;     // maximum length of the stream; 0: unlimited
  int64_t num_negatives = 0;  // of each stream; only for models with TokenParts
  ChooseHook choose = nullptr;
  void* choose_data = nullptr;
};

class Decoder {
 public:
  // Fails unless the model maps tokens to logits [batch, time, vocabulary] step by step and without
  // latency. The step of a model with TokenParts is a frame of tokens [batch, time, parts].
  Decoder(const Model& model, const DecoderOptions& options, int64_t batch,
          std::span<const View> constants, std::span<const std::string> constant_names,
          const Allocator& allocator);

  // The stream under the decoder, whose constants are set before prefill and sample.
  Stream& stream() { return stream_; }
  int64_t batch() const { return static_cast<int64_t>(streams_.size()); }
  // The number of tokens of a step.
  int64_t part_count() const { return parts_ ? parts_->part_count() : 1; }
  bool has_parts() const { return parts_ != nullptr; }
  // Items of the stream of each slot: one with the slot's conditioning and one for each negative.
  int64_t items_per_slot() const { return 1 + num_negatives_; }
  // Fails unless all are slots of the decoder, and none is there twice.
  Slots check_slots(std::span<const int64_t> slots);

  // Runs take place as `parallel` says; null: layer-wise ones as the model's, steps on the calling
  // thread.

  // Writes the log probabilities of whole sequences of tokens and, if `out` has one, their mask.
  // Both views are [batch, time]. Runs layer-wise.
  void log_prob(Workspace& workspace, const View& tokens, const Constants& constants,
                const View& out, const Parallel* parallel = nullptr) const;
  // Continues the slots, or all, as if `tokens` had been sampled.
  void prefill(const Slots& slots, const View& tokens, const Parallel* parallel = nullptr);
  // Real-time. Samples one token for each of the slots, or one for each part, with their log
  // probabilities and the mask, which both may be null. Logits that define no probabilities are an
  // error, after all other streams have their token, and every later call for the slot fails before
  // it changes anything, until the slot begins again or becomes a copy: its stream has already
  // taken the step.
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
  // Fails unless the model has the tokens of the choices, which `where` names in the message.
  void check(const Choices& choices, Code code = Code::kInvalidArgument,
             std::string_view where = "options.") const;
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
  class PartChooser;
  void reset_items(int64_t slot);
  // Bytes of a saved slot that hold how its negatives guide it.
  size_t guidance_bytes() const { return static_cast<size_t>(num_negatives_) * sizeof(float); }
  // Reads what follows the header of a saved slot.
  void load_items(int64_t slot, const std::byte* in, size_t size, Choices& choices);
  // The items of the stream that belong to the slots.
  Slots items_of(const Slots& slots);
  void log_prob_parts(Workspace& workspace, const Sequence& tokens, const Constants& constants,
                      const View& out, const Parallel& parallel) const;
  void prefill_parts(const Slots& slots, const Sequence& tokens, const Parallel& parallel);
  void sample_parts(const Slots& slots, int32_t* tokens, float* log_probs, uint8_t* mask,
                    const Parallel* parallel);
  // The possible logits of a part, as its negatives have pushed them.
  std::span<const float> guided(const Choices& choices, int64_t part, const Sequence& logits,
                                int64_t item, std::span<float> out) const;
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
  std::vector<int64_t> items_;  // of the slots of a step
  const TokenParts* parts_ = nullptr;
  int64_t num_negatives_ = 0;
  ChooseHook choose_ = nullptr;
  void* choose_data_ = nullptr;
};

}  // namespace sl
