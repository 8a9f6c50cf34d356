// The way of audio through one model: channels of the host to those of the model, sample rates,
// blocks and latency.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/frame_queue.h"
#include "model/stream.h"
#include "ops/rate_converter.h"

namespace sl {

// How channels of the host go through a model. The values are those of sl_pipe_channels.
enum class PipeChannels : int32_t { kDefault = 0, kEach = 1, kMix = 2, kModel = 3 };

struct PipeOptions {
  double host_rate = 0;       // samples a second; 0: model_rate
  double model_rate = 0;      // 0: the model's metadata or, by default, host_rate
  int64_t host_channels = 0;  // 0: those of the model
  int64_t max_frames = 0;     // 0: kDefaultFrames
  int64_t min_latency = 0;
  int64_t fade_frames = 0;  // 0: a fiftieth of a second
  float dry = 0;
  PipeChannels channels = PipeChannels::kDefault;
  ops::ConverterQuality quality = ops::ConverterQuality::kDefault;

  static constexpr int64_t kDefaultFrames = 4096;
};

// How frames of the host relate to the steps of a model, found out before anything is allocated.
struct PipeLayout {
  // Fails with the reason if the model is none that a host could play audio through.
  PipeLayout(const Model& model, const PipeOptions& options);

  PipeOptions options;  // without defaults that are zero
  ChannelSpec input;
  int64_t batch = 1;
  // Channels of the interleaved frames that go into the model and come out of it: those of the
  // host, or one.
  int64_t channels_in = 1;
  int64_t channels_out = 1;
  int64_t block_size = 1;
  int64_t model_latency = 0;  // in steps

  // Steps of the model for each frame of the host.
  double ratio() const { return options.model_rate / options.host_rate; }
  bool converts() const { return options.model_rate != options.host_rate; }

 private:
  void choose_rates(const Model& model);
  void choose_channels(const Model& model);
};

// A stream of audio through a model. What it makes is aligned with its input, so that it comes late
// by latency() frames, exactly, whatever the sizes of the calls.
class PipePath {
 public:
  PipePath(const Model& model, const PipeLayout& layout, const Allocator& allocator);
  PipePath(const PipePath&) = delete;
  PipePath& operator=(const PipePath&) = delete;

  const PipeLayout& layout() const { return layout_; }
  int64_t latency() const { return latency_; }
  // The number of frames, after those of the latency, whose receptive field begins before the
  // stream. At most those of kMaxOnset seconds count.
  int64_t onset() const { return onset_; }
  bool at_start() const { return fed_frames_ == 0 && !ended_; }

  // Takes frames of the host, planar; null: silence behind the end of the input. At most max_frames
  // before `remove`. Real-time.
  void push(const float* const* in, int64_t frames);
  // As many frames as were pushed: of the model, and of its input, late by the same time.
  const float* wet() const { return wet_.front(); }
  const float* dry() const { return dry_.front(); }
  void remove(int64_t frames);
  // Back to the start of a stream. Real-time.
  void reset();

 private:
  static constexpr double kMaxOnset = 1;

  struct Sizes;
  Sizes plan_sizes();
  int64_t plan_onset(const Model& model) const;
  void take_memory(const Sizes& sizes, const Allocator& allocator);
  // Interleaves frames of the host for the model; the pointer holds until the next call.
  const float* gather(const float* const* in, int64_t frames);
  // Runs the model over all whole blocks that have come.
  void run_blocks();
  void step(int64_t steps);
  // The mask of the next steps if one of them is behind the end of the input, otherwise null.
  uint8_t* mask_of(int64_t steps);
  View view(float* data, uint8_t* mask, int64_t steps, int64_t channels,
            const ChannelSpec& spec) const;
  void silence_invalid(int64_t steps);
  void deliver(const float* frames, int64_t count);

  PipeLayout layout_;
  std::optional<ops::RateConverter> to_model_;
  std::optional<ops::RateConverter> to_host_;
  int64_t latency_ = 0;
  int64_t onset_ = 0;
  int64_t max_steps_ = 0;  // of one call of the model
  Block memory_;
  FrameQueue dry_;           // the host's input
  FrameQueue steps_;         // the model's input
  FrameQueue wet_;           // output at the host's rate
  float* host_ = nullptr;    // a call's frames for the model, at the host's rate
  float* output_ = nullptr;  // the model's output of one call
  uint8_t* mask_in_ = nullptr;
  uint8_t* mask_out_ = nullptr;
  Block stream_memory_;
  std::optional<Stream> stream_;
  int64_t fed_frames_ = 0;   // frames of the host so far, up to the end of the input
  int64_t fed_steps_ = 0;    // steps of the model so far
  int64_t valid_steps_ = 0;  // steps up to the end of the input, once that has come
  bool ended_ = false;
};

}  // namespace sl
