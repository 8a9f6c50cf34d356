#include "model/pipe_path.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/status.h"
#include "model/properties.h"

namespace sl {
namespace {

constexpr double kMinRate = 0.001, kMaxRate = 1e9;

// The rate that the model's metadata record, or 0.
double recorded_rate(const Model& model) {
  const std::string* text = model.metadata("sample_rate");
  if (!text) return 0;
  double rate = 0;
  const char* end = text->data() + text->size();
  const auto [rest, error] = std::from_chars(text->data(), end, rate);
  // The comparison is written so that NaN fails it.
  if (error == std::errc() && rest == end && rate >= kMinRate && rate <= kMaxRate) return rate;
  fail(Code::kWeights,
       "metadata \"sample_rate\" is \"{}\": expected input steps a second, a number from 0.001 to "
       "1e9",
       *text);
}

void check_rate(double rate, const char* name) {
  if (rate == 0 || (rate >= kMinRate && rate <= kMaxRate)) return;
  fail(Code::kInvalidArgument, "options.{} is {}: expected 0 or a number from 0.001 to 1e9", name,
       rate);
}

void check_count(int64_t value, int64_t maximum, const char* name) {
  if (value >= 0 && value <= maximum) return;
  fail(Code::kInvalidArgument, "options.{} is {}: expected 0 to {}", name, value, maximum);
}

void check_options(const PipeOptions& options) {
  constexpr int64_t kMaxFrames = 1 << 20, kMaxDelay = 1 << 24;
  check_rate(options.host_rate, "host_rate");
  check_rate(options.model_rate, "model_rate");
  check_count(options.host_channels, ops::RateConverter::kMaxChannels, "host_channels");
  check_count(options.max_frames, kMaxFrames, "max_frames");
  check_count(options.min_latency, kMaxDelay, "min_latency");
  check_count(options.fade_frames, kMaxDelay, "fade_frames");
}

// Fails unless the model makes a sample of every sample, alone.
void check_audio(const Model& model) {
  const Ratio ratio = model.root().output_ratio();
  if (ratio != Ratio(1)) {
    fail(Code::kUnsupported,
         "the model makes {}/{} output steps for each input step: a pipe takes a model that makes "
         "one, audio of the rate of its input",
         ratio.numerator(), ratio.denominator());
  }
  for (const ConstantUse& use : model.constants().all()) {
    if (!use.spec.required) continue;
    fail(Code::kUnsupported, "{} reads the constant \"{}\": a pipe has nothing but audio",
         use.reader, use.spec.name);
  }
  const std::string obstacle = step_obstacle(model.root());
  if (!obstacle.empty())
    fail(Code::kUnsupported, "a pipe runs in steps without an end: {}", obstacle);
}

// The number of channels of steps that are audio: one scalar, or a row of channels.
int64_t audio_channels(const ChannelSpec& spec, const char* what) {
  const bool is_audio =
      spec.dtype == DType::kFloat32 && spec.shape.rank() <= 1 && spec.shape.size() > 0;
  if (!is_audio) {
    fail(Code::kUnsupported,
         "the model's {} is {}: a pipe takes audio, float32[] or float32[channels]", what,
         to_string(spec));
  }
  return spec.shape.size();
}

}  // namespace

PipeLayout::PipeLayout(const Model& model, const PipeOptions& given) : options(given) {
  check_options(options);
  check_audio(model);
  choose_rates(model);
  choose_channels(model);
  block_size = model.root().block_size();
  model_latency = model.root().output_latency();
  if (options.max_frames == 0) options.max_frames = PipeOptions::kDefaultFrames;
  if (options.fade_frames == 0)
    options.fade_frames = std::max<int64_t>(1, std::llround(options.host_rate / 50));
}

void PipeLayout::choose_rates(const Model& model) {
  constexpr double kMaxRatio = ops::RateConverter::kMaxRatio;
  if (options.model_rate == 0) options.model_rate = recorded_rate(model);
  if (options.model_rate == 0) options.model_rate = options.host_rate;
  if (options.host_rate == 0) options.host_rate = options.model_rate;
  // Without any rate, they are equal, and only the default fade needs one.
  if (options.host_rate == 0) options.host_rate = options.model_rate = 48000;
  if (ratio() <= kMaxRatio && ratio() >= 1 / kMaxRatio) return;
  fail(Code::kUnsupported, "sample rates of {} and {} a second are more than {} times apart",
       options.host_rate, options.model_rate, kMaxRatio);
}

void PipeLayout::choose_channels(const Model& model) {
  input = model.input_spec().value_or(ChannelSpec{});
  channels_in = audio_channels(input, "input");
  channels_out = audio_channels(model.output_spec(input, {}), "output");
  PipeChannels& mode = options.channels;
  if (mode == PipeChannels::kDefault) {
    const bool mono = channels_in == 1 && channels_out == 1;
    mode = mono ? PipeChannels::kEach : PipeChannels::kModel;
  }
  int64_t& host = options.host_channels;
  if (host == 0) host = std::max(channels_in, channels_out);
  const auto fits = [&](int64_t channels) { return channels == host || channels == 1; };
  const bool fit = mode == PipeChannels::kEach  ? channels_in == 1 && channels_out == 1
                   : mode == PipeChannels::kMix ? channels_in == 1 && fits(channels_out)
                                                : channels_in == host && fits(channels_out);
  if (!fit) {
    constexpr const char* kNames[] = {"", "each", "mix", "model"};
    fail(Code::kUnsupported,
         "{} channels of the host do not fit a model that makes {} of {} (options.channels: {})",
         host, channels_out, channels_in, kNames[static_cast<int>(mode)]);
  }
  if (mode == PipeChannels::kEach) batch = channels_in = channels_out = host;
}

struct PipePath::Sizes {
  int64_t dry = 0, steps = 0, wet = 0, output = 0;
};

PipePath::PipePath(const Model& model, const PipeLayout& layout, const Allocator& allocator)
    : layout_(layout) {
  const PipeOptions& options = layout_.options;
  if (layout_.converts()) {
    to_model_.emplace(options.quality, layout_.channels_in, layout_.ratio());
    to_host_.emplace(options.quality, layout_.channels_out, 1 / layout_.ratio());
  }
  const Sizes sizes = plan_sizes();
  onset_ = plan_onset(model);
  StreamPlan plan(model, {.batch = layout_.batch,
                          .max_steps = max_steps_,
                          .input = layout_.input,
                          .constants = {},
                          .constant_names = {},
                          .rehearse = true,
                          .max_length = 0});
  take_memory(sizes, allocator);
  stream_memory_ = Block(plan.bytes(), allocator);
  stream_.emplace(std::move(plan), stream_memory_.data());
  reset();
}

PipePath::Sizes PipePath::plan_sizes() {
  const int64_t frames = layout_.options.max_frames, block = layout_.block_size;
  const int64_t arriving = to_model_ ? to_model_->max_output(frames) : frames;
  Sizes out;
  out.steps = checked_sum(block - 1, arriving);
  max_steps_ = std::max(out.steps / block * block, block);
  const int64_t late = checked_sum(block - 1, layout_.model_latency);
  latency_ = late;
  if (to_model_) {
    // A step comes when the frames before it and those that the converter looks ahead are there, a
    // frame when the model's block and the steps that the converter looks ahead are. One step and
    // one frame more stand for parts of one, and one for what rounding adds over the years.
    const auto behind = static_cast<double>(checked_sum(late, to_host_->lookahead(), 1));
    latency_ = checked_sum(to_model_->lookahead(), 2,
                           static_cast<int64_t>(std::ceil(behind / layout_.ratio())));
  }
  latency_ = std::max(latency_, layout_.options.min_latency);
  out.output = max_steps_;
  out.dry = checked_sum(latency_, frames);
  out.wet = checked_sum(out.dry, to_host_ ? to_host_->max_output(max_steps_) : max_steps_);
  return out;
}

int64_t PipePath::plan_onset(const Model& model) const {
  const double most = kMaxOnset * layout_.options.host_rate;
  const ReceptiveField field = model.root().receptive_field();
  double past = field && field->start < 0 ? -static_cast<double>(field->start) : 0;
  if (to_model_) {
    // Converters look back as far as they look ahead.
    past += static_cast<double>(to_host_->lookahead());
    past = past / layout_.ratio() + static_cast<double>(to_model_->lookahead());
  }
  return static_cast<int64_t>(std::ceil(std::min(past, most)));
}

void PipePath::take_memory(const Sizes& sizes, const Allocator& allocator) {
  const int64_t host = layout_.options.host_channels, in = layout_.channels_in,
                out = layout_.channels_out;
  const int64_t counts[] = {
      FrameQueue::floats_for(sizes.dry, host), FrameQueue::floats_for(sizes.steps, in),
      FrameQueue::floats_for(sizes.wet, out), checked_product(layout_.options.max_frames, in),
      checked_product(sizes.output, out),
      // masks, of bytes
      checked_product(max_steps_, layout_.batch), checked_product(max_steps_, layout_.batch)};
  int64_t total = 0;
  for (const int64_t count : counts) total = checked_sum(total, count);
  memory_ = Block(checked_bytes(total, sizeof(float)), allocator);
  float* at = reinterpret_cast<float*>(memory_.data());
  // Touches every page now, so that no call has a page fault.
  std::fill_n(at, total, 0.0f);
  float* parts[std::size(counts)];
  for (size_t i = 0; i < std::size(counts); ++i) {
    parts[i] = at;
    at += counts[i];
  }
  dry_ = FrameQueue(parts[0], sizes.dry, host);
  steps_ = FrameQueue(parts[1], sizes.steps, in);
  wet_ = FrameQueue(parts[2], sizes.wet, out);
  host_ = parts[3];
  output_ = parts[4];
  mask_in_ = reinterpret_cast<uint8_t*>(parts[5]);
  mask_out_ = reinterpret_cast<uint8_t*>(parts[6]);
}

void PipePath::reset() {
  if (to_model_) to_model_->reset();
  if (to_host_) to_host_->reset();
  stream_->reset();
  dry_.restart(latency_);
  wet_.restart(latency_);
  steps_.restart(0);
  fed_frames_ = fed_steps_ = valid_steps_ = 0;
  ended_ = false;
}

void PipePath::remove(int64_t frames) {
  dry_.remove(frames);
  wet_.remove(frames);
}

const float* PipePath::gather(const float* const* in, int64_t frames) {
  const int64_t host = layout_.options.host_channels, channels = layout_.channels_in;
  float* dry = dry_.room(frames);
  for (int64_t c = 0; c < host; ++c) {
    for (int64_t i = 0; i < frames; ++i) dry[i * host + c] = in ? in[c][i] : 0.0f;
  }
  dry_.added(frames);
  if (channels == host) return dry;
  const float share = 1.0f / static_cast<float>(host);
  for (int64_t i = 0; i < frames; ++i) {
    float sum = 0;
    for (int64_t c = 0; c < host; ++c) sum += dry[i * host + c];
    host_[i] = sum * share;
  }
  return host_;
}

void PipePath::push(const float* const* in, int64_t frames) {
  if (in) {
    fed_frames_ += frames;
  } else if (!ended_) {
    ended_ = true;
    // Steps at positions before the end; a frame's thousandth more or less is rounding.
    valid_steps_ = static_cast<int64_t>(
        std::ceil((static_cast<double>(fed_frames_) - 1e-3) * layout_.ratio()));
  }
  const float* frames_in = gather(in, frames);
  if (to_model_) {
    float* room = steps_.room(to_model_->max_output(frames));
    steps_.added(to_model_->process(frames_in, frames, room));
  } else {
    steps_.push(frames_in, frames);
  }
  run_blocks();
  if (wet_.size() < frames)
    fail(Code::kInternal, "a pipe has {} frames less than promised", frames - wet_.size());
}

void PipePath::run_blocks() {
  const int64_t block = layout_.block_size;
  while (steps_.size() >= block) step(std::min(steps_.size() / block * block, max_steps_));
}

uint8_t* PipePath::mask_of(int64_t steps) {
  const int64_t valid = std::clamp<int64_t>(valid_steps_ - fed_steps_, 0, steps);
  if (!ended_ || valid == steps) return nullptr;
  for (int64_t b = 0; b < layout_.batch; ++b) {
    std::fill_n(mask_in_ + b * steps, valid, uint8_t{1});
    std::fill_n(mask_in_ + b * steps + valid, steps - valid, uint8_t{0});
  }
  return mask_in_;
}

// Items of the batch are channels of the interleaved frames.
View PipePath::view(float* data, uint8_t* mask, int64_t steps, int64_t channels,
                    const ChannelSpec& spec) const {
  View out;
  out.dtype = DType::kFloat32;
  out.dims = Shape{layout_.batch, steps};
  for (const int64_t dim : spec.shape) out.dims.push_back(dim);
  out.data = reinterpret_cast<std::byte*>(data);
  out.mask = mask;
  out.mask_strides[0] = steps;
  out.mask_strides[1] = 1;
  out.packed = layout_.batch == 1;
  out.strides[0] = sizeof(float);
  out.strides[1] = channels * static_cast<int64_t>(sizeof(float));
  out.strides[2] = sizeof(float);
  return out;
}

void PipePath::step(int64_t steps) {
  const View x = view(const_cast<float*>(steps_.front()), mask_of(steps), steps,
                      layout_.channels_in, layout_.input);
  const View y = view(output_, mask_out_, steps, layout_.channels_out, stream_->plan().output());
  stream_->step(x, y, /*with_emits=*/false);
  silence_invalid(steps);
  steps_.remove(steps);
  const int64_t early = std::clamp<int64_t>(layout_.model_latency - fed_steps_, 0, steps);
  fed_steps_ += steps;
  if (early < steps) deliver(output_ + early * layout_.channels_out, steps - early);
}

// Invalid steps hold anything: behind the end of the input, or where the model itself masks some.
void PipePath::silence_invalid(int64_t steps) {
  const auto count = static_cast<size_t>(layout_.batch * steps);
  if (!std::memchr(mask_out_, 0, count)) return;
  const int64_t channels = layout_.channels_out, each = channels / layout_.batch;
  for (int64_t b = 0; b < layout_.batch; ++b) {
    for (int64_t t = 0; t < steps; ++t) {
      if (mask_out_[b * steps + t] == 0) std::fill_n(output_ + t * channels + b * each, each, 0.0f);
    }
  }
}

void PipePath::deliver(const float* frames, int64_t count) {
  if (!to_host_) return wet_.push(frames, count);
  float* room = wet_.room(to_host_->max_output(count));
  wet_.added(to_host_->process(frames, count, room));
}

}  // namespace sl
