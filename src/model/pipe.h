// Audio of a host through a model: calls of any number of frames, dry and wet, and the exchange of
// the model while it plays.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "model/pipe_path.h"

namespace sl {

class Pipe {
 public:
  // Fails with the reason if a host cannot play audio through the model.
  Pipe(const Model& model, const PipeOptions& options, const Allocator& allocator);
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int64_t latency() const { return path_->latency(); }
  int64_t host_channels() const { return path_->layout().options.host_channels; }
  bool is_fading() const { return outgoing_ != nullptr; }
  void set_dry(float dry) { dry_target_.store(dry, std::memory_order_relaxed); }

  // All below are real-time. Outputs may be the memory of inputs.
  void process(const float* const* in, float* const* out, int64_t frames);
  // Writes what is still to come after the end of the input, at most `frames`, and returns how many
  // frames it wrote: 0 when all has come.
  int64_t flush(float* const* out, int64_t frames);
  void reset();
  // Exchanges the models of two pipes. This one fades from its own to that of `next`, which has the
  // old model afterwards, and is not to be used or freed as long as this one is fading.
  void swap(Pipe& next);

 private:
  void check_call(int64_t frames) const;
  void run(const float* const* in, float* const* out, int64_t frames);
  // Computes the gains of a call: how dry each frame is, and how far the new model has come.
  void plan_dry(int64_t frames);
  void plan_fade(int64_t frames);
  void write(const PipePath& path, int64_t channel, int64_t frames, float* out) const;
  void end_fade();

  std::unique_ptr<PipePath> path_;
  std::atomic<float> dry_target_;
  float dry_;  // of the last frame
  std::vector<float> dry_gains_;
  std::vector<float> fade_gains_;
  std::vector<float> faded_;   // the outgoing model's output, one channel
  Pipe* old_owner_ = nullptr;  // has the outgoing model
  PipePath* outgoing_ = nullptr;
  bool lent_ = false;           // its model is still heard in another pipe
  int64_t fade_frame_ = 0;      // since the exchange
  int64_t left_to_flush_ = -1;  // -1: not at the end of the input
  std::optional<Code> failed_;
};

}  // namespace sl
