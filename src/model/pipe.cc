#include "model/pipe.h"

#include <algorithm>
#include <cmath>

#include "core/denormals.h"
#include "core/status.h"

namespace sl {
namespace {

// Seconds from dry to wet, so that a knob makes no click.
constexpr double kDryRamp = 0.02;

[[noreturn]] void fail_flushed() {
  fail(Code::kInvalidArgument, "the pipe was flushed: reset it before it takes more");
}

}  // namespace

Pipe::Pipe(const Model& model, const PipeOptions& options, const Allocator& allocator)
    : path_(std::make_unique<PipePath>(model, PipeLayout(model, options), allocator)),
      dry_target_(options.dry),
      dry_(options.dry) {
  const auto frames = static_cast<size_t>(path_->layout().options.max_frames);
  dry_gains_.resize(frames);
  fade_gains_.resize(frames);
  faded_.resize(frames);
}

void Pipe::check_call(int64_t frames) const {
  if (lent_) {
    fail(Code::kInvalidArgument,
         "the pipe's model is still heard in the one that it was swapped with");
  }
  if (failed_) fail(*failed_, "an earlier call of the pipe failed: reset it");
  const int64_t maximum = path_->layout().options.max_frames;
  if (frames < 0 || frames > maximum)
    fail(Code::kInvalidArgument, "frames is {}: expected 0 to {}", frames, maximum);
}

void Pipe::process(const float* const* in, float* const* out, int64_t frames) {
  check_call(frames);
  if (left_to_flush_ >= 0) fail_flushed();
  if (frames > 0) run(in, out, frames);
}

int64_t Pipe::flush(float* const* out, int64_t frames) {
  check_call(frames);
  if (left_to_flush_ < 0) left_to_flush_ = latency();
  const int64_t count = std::min(frames, left_to_flush_);
  if (count > 0) run(nullptr, out, count);
  left_to_flush_ -= count;
  return count;
}

void Pipe::run(const float* const* in, float* const* out, int64_t frames) {
  const FlushDenormals flush;
  try {
    path_->push(in, frames);
    if (outgoing_) outgoing_->push(in, frames);
  } catch (const Error& error) {
    failed_ = error.code();
    for (int64_t c = 0; c < host_channels(); ++c) std::fill_n(out[c], frames, 0.0f);
    throw;
  }
  plan_dry(frames);
  if (outgoing_) plan_fade(frames);
  for (int64_t c = 0; c < host_channels(); ++c) {
    write(*path_, c, frames, out[c]);
    if (!outgoing_) continue;
    write(*outgoing_, c, frames, faded_.data());
    for (int64_t i = 0; i < frames; ++i) {
      const auto at = static_cast<size_t>(i);
      out[c][i] = faded_[at] + fade_gains_[at] * (out[c][i] - faded_[at]);
    }
  }
  path_->remove(frames);
  if (!outgoing_) return;
  outgoing_->remove(frames);
  if (fade_gains_[static_cast<size_t>(frames - 1)] == 1) end_fade();
}

void Pipe::plan_dry(int64_t frames) {
  const float target = dry_target_.load(std::memory_order_relaxed);
  const auto step = static_cast<float>(1 / (kDryRamp * path_->layout().options.host_rate));
  for (int64_t i = 0; i < frames; ++i) {
    dry_ = target > dry_ ? std::min(target, dry_ + step) : std::max(target, dry_ - step);
    dry_gains_[static_cast<size_t>(i)] = dry_;
  }
}

// The new model is heard once its output depends on no input before the exchange, which it has not
// had: until then it makes silence, and then what would follow silence.
void Pipe::plan_fade(int64_t frames) {
  const auto length = static_cast<float>(path_->layout().options.fade_frames);
  for (int64_t i = 0; i < frames; ++i) {
    const auto heard = static_cast<float>(++fade_frame_ - latency() - path_->onset());
    fade_gains_[static_cast<size_t>(i)] = std::clamp(heard / length, 0.0f, 1.0f);
  }
}

void Pipe::write(const PipePath& path, int64_t channel, int64_t frames, float* out) const {
  const int64_t wet_channels = path.layout().channels_out, host = host_channels();
  const float* wet = path.wet() + (wet_channels == 1 ? 0 : channel);
  const float* dry = path.dry() + channel;
  if (dry_ == 0 && dry_gains_[0] == 0) {  // a ramp is monotonic: all are 0
    for (int64_t i = 0; i < frames; ++i) out[i] = wet[i * wet_channels];
    return;
  }
  for (int64_t i = 0; i < frames; ++i) {
    const float gain = dry_gains_[static_cast<size_t>(i)];
    const float d = dry[i * host], w = wet[i * wet_channels];
    out[i] = gain == 1 ? d : w + gain * (d - w);
  }
}

void Pipe::reset() {
  if (lent_) check_call(0);
  if (outgoing_) end_fade();
  path_->reset();
  dry_ = dry_target_.load(std::memory_order_relaxed);
  left_to_flush_ = -1;
  failed_.reset();
}

void Pipe::swap(Pipe& next) {
  check_call(0);
  next.check_call(0);
  const PipeOptions &ours = path_->layout().options, &theirs = next.path_->layout().options;
  if (&next == this || outgoing_ || next.outgoing_)
    fail(Code::kInvalidArgument, "the pipe is still fading from one model to another");
  if (left_to_flush_ >= 0) fail_flushed();
  if (!next.path_->at_start())
    fail(Code::kInvalidArgument, "the next pipe is not at its start: reset it");
  if (ours.host_rate != theirs.host_rate || ours.host_channels != theirs.host_channels ||
      ours.max_frames != theirs.max_frames) {
    fail(Code::kInvalidArgument,
         "the next pipe has {} channels at {} a second in calls of {} frames: expected {}, {} and "
         "{}",
         theirs.host_channels, theirs.host_rate, theirs.max_frames, ours.host_channels,
         ours.host_rate, ours.max_frames);
  }
  std::swap(path_, next.path_);
  outgoing_ = next.path_.get();
  old_owner_ = &next;
  next.lent_ = true;
  fade_frame_ = 0;
}

void Pipe::end_fade() {
  old_owner_->lent_ = false;
  old_owner_ = nullptr;
  outgoing_ = nullptr;
}

}  // namespace sl
