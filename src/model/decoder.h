// Autoregressive decoding: a model from tokens to logits whose choices are its next inputs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/sampling.h"
#include "model/stream.h"

namespace sl {

struct DecoderOptions {
  int32_t start_token = 0;
  int32_t stop_token = -1;  // -1: none
  int32_t pad_token = 0;
  uint64_t seed = 0;
  Sampling sampling;
  int64_t max_length = 0;  // as of a stream
};

class Decoder {
 public:
  // Fails if the model does not make logits [batch, time, vocabulary] of tokens, step by step
  // without delay.
  Decoder(const Model& model, const DecoderOptions& options, int64_t batch,
          std::span<const View> constants, std::span<const std::string> constant_names,
          const Allocator& allocator);

  // Its constants are set before prefill and sample.
  Stream& stream() { return stream_; }
  int64_t batch() const { return stream_.plan().input().batch; }

  // Log probabilities, and mask if there is one in `out`, of tokens from the start of a sequence:
  // both views are [batch, time]. Runs layer-wise.
  void log_prob(Workspace& workspace, const View& tokens, const Constants& constants,
                const View& out) const;
  // Goes on as if `tokens` had been chosen.
  void prefill(const View& tokens);
  // Real-time. One step: `batch` tokens, log probabilities and masks, of which the latter two may
  // be null. Logits that are no probabilities are an error, and stay one until reset or copy_from:
  // they are what the step came to.
  void sample(int32_t* tokens, float* log_probs, uint8_t* mask);
  // Real-time. Continues where `source` stands, with its own seed and way of choosing.
  void copy_from(const Decoder& source);
  void reset();

 private:
  Decoder(StreamPlan plan, const DecoderOptions& options, const Allocator& allocator);
  std::span<const float> logits_of(int64_t item) const;
  int32_t choose(int64_t item);
  // Fails if a live stream's logits are no probabilities.
  void check_step() const;

  DecoderOptions options_;
  Block memory_;
  Stream stream_;
  int64_t vocabulary_;            // of the logits
  int64_t input_vocabulary_ = 0;  // that of the logits, if the layers know none
  // Of fixed sizes, so that steps do not allocate.
  std::vector<float> logits_;
  std::vector<Candidate> candidates_;
  std::vector<int32_t> last_;  // the next inputs
  std::vector<uint8_t> live_;  // 0: the stream has stopped
  bool failed_ = false;        // the logits of the last step are no probabilities
  uint64_t step_ = 0;
};

}  // namespace sl
