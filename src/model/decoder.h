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

struct DecoderOptions {
  int32_t start_token = 0;
  int32_t stop_token = -1;  // -1: no stop token
  int32_t pad_token = 0;
  uint64_t seed = 0;
  Sampling sampling;
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
  // Continues as if `tokens` had been sampled.
  void prefill(const View& tokens, const Parallel* parallel = nullptr);
  // Real-time. Samples one token for each batch item, with its log probability and mask, which both
  // may be null. Logits that define no probabilities are an error, and every later call fails too,
  // until reset or copy_from: the stream has already taken the step.
  void sample(int32_t* tokens, float* log_probs, uint8_t* mask, const Parallel* parallel = nullptr);
  // Real-time. Takes over the stream and tokens of `source`, but keeps this decoder's seed and
  // sampling options.
  void copy_from(const Decoder& source);
  void reset();

 private:
  Decoder(StreamPlan plan, const DecoderOptions& options, const Allocator& allocator);
  std::span<const float> logits_of(int64_t item) const;
  int32_t choose(int64_t item);
  // Fails if the logits of an item that has not stopped define no probabilities.
  void check_step() const;

  DecoderOptions options_;
  Block memory_;
  Stream stream_;
  int64_t vocabulary_;            // number of logits
  int64_t input_vocabulary_ = 0;  // number of input tokens; vocabulary_ if no layer tells
  // These vectors keep their sizes, so that steps do not allocate.
  std::vector<float> logits_;
  std::vector<Candidate> candidates_;
  std::vector<int32_t> last_;  // the last token of each item, which is its next input
  std::vector<uint8_t> live_;  // for each item; 0 after its stop token
  bool failed_ = false;        // the logits of the last step define no probabilities
  uint64_t step_ = 0;
};

}  // namespace sl
