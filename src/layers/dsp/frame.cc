// Frame: y[t, i] = x[t * frame_step + i - pad], of any channel shape and dtype (reference:
// dsp.Frame).
#include <algorithm>
#include <cstring>

#include "core/ring.h"
#include "layers/builder.h"
#include "ops/window.h"

namespace sl {
namespace {

class Frame final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config) {
      window.kernel = config.integer("frame_length", 1);
      window.stride = config.integer("frame_step", 1);
      window.padding =
          ops::read_padding(config, "padding", ops::Padding::kReverseCausalValid, true);
      same_like = config.boolean("explicit_padding_is_same_like", false);
      const ops::Pads pads = window.padding.amounts;
      if (window.padding.mode == ops::Padding::kExplicit &&
          pads.before + pads.after != window.kernel - 1) {
        config.error("padding", fmt::format("expected amounts that add up to frame_length - 1 = {}",
                                            window.kernel - 1));
      }
    }
    ops::Window window;
    bool same_like;
  };

  Frame(Fields fields, const Init&) : window_(fields.window), same_like_(fields.same_like) {}

  int64_t block_size() const override { return window_.stride; }
  Ratio output_ratio() const override { return Ratio(1, window_.stride); }
  bool supports_step() const override { return window_.supports_step(); }
  int64_t input_latency() const override {
    if (window_.padding.mode == ops::Padding::kSemicausalFull) return window_.stride - 1;
    return window_.input_latency();
  }
  int64_t output_latency() const override { return window_.output_latency(); }
  ReceptiveFields receptive_field_per_step() const override { return window_.receptive_field(); }

  ChannelSpec output_spec(const ChannelSpec& input, const Constants&) const override {
    ChannelSpec out = input;
    out.shape.insert(0, window_.kernel);
    return out;
  }
  int64_t output_length(int64_t time, const ChannelSpec&, const Constants&) const override {
    return window_.output_length(time);
  }
  void declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (!supports_step() || window_.history() == 0) return;
    Ring::declare(declaration, ring_of(input.channels), input.batch, input.time);
  }

  Sequence layer(Run& run, const Sequence& x) const override;
  Sequence step(Run& run, const Sequence& x) const override;

 private:
  RingSpec ring_of(const ChannelSpec& frame) const {
    RingSpec out;
    out.frame = frame;
    out.history = window_.history();
    const bool invalid = same_like_ && window_.padding.mode == ops::Padding::kExplicit;
    out.mask_fill = window_.history_is_valid() && !invalid;
    return out;
  }
  void copy_steps(const Sequence& x, int64_t b, int64_t first, int64_t count, std::byte* out) const;

  ops::Window window_;
  bool same_like_;
};

// Steps [first, first + count). Invalid ones are zero, as are those outside of x.
void Frame::copy_steps(const Sequence& x, int64_t b, int64_t first, int64_t count,
                       std::byte* out) const {
  const size_t bytes = x.frame_bytes();
  const auto at = [&](int64_t t) { return out + static_cast<size_t>(t - first) * bytes; };
  const auto zero = [&](int64_t from, int64_t to) {
    if (from < to) std::memset(at(from), 0, static_cast<size_t>(to - from) * bytes);
  };
  const int64_t end = first + count;
  const int64_t from = std::clamp<int64_t>(0, first, end), to = std::clamp(x.time, from, end);
  zero(first, from);
  zero(to, end);
  if (from == to) return;
  const auto inside = static_cast<size_t>(to - from);
  std::memcpy(at(from), x.frame(b, from), inside * bytes);
  const uint8_t* mask = x.mask_at(b, 0);
  if (window_.kernel == 1 || !std::memchr(mask + from, 0, inside)) return;
  for (int64_t t = from; t < to; ++t) {
    if (!mask[t]) zero(t, t + 1);
  }
}

Sequence Frame::layer(Run& run, const Sequence& x) const {
  const int64_t count = window_.output_length(x.time);
  const Sequence y = run.output(output_spec(x.spec(), {}), x.batch, count);
  const int64_t before = window_.pads().before;
  for (int64_t b = 0; b < x.batch; ++b) {
    window_.layer_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
  }
  run.parallel().each(y.steps(), [&](int64_t i) {
    const int64_t b = i / count, t = i % count;
    copy_steps(x, b, t * window_.stride - before, window_.kernel, y.frame(b, t));
  });
  return y;
}

Sequence Frame::step(Run& run, const Sequence& x) const {
  const ChannelSpec spec = output_spec(x.spec(), {});
  const Sequence y = run.output(spec, x.batch, x.time / window_.stride);
  if (window_.history() == 0) {
    // Frames lie within the call's own steps.
    for (int64_t b = 0; b < x.batch; ++b) {
      window_.step_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
      for (int64_t t = 0; t < y.time; ++t) {
        copy_steps(x, b, t * window_.stride, window_.kernel, y.frame(b, t));
      }
    }
    return y;
  }
  Ring ring(run, ring_of(x.spec()));
  for (int64_t b = 0; b < x.batch; ++b) {
    std::memcpy(ring.incoming_mask(b), x.mask_at(b, 0), static_cast<size_t>(x.time));
    copy_steps(x, b, 0, x.time, ring.incoming(b));
  }
  ring.push(x.batch, x.time);
  const int64_t frames = window_.history() + x.time;
  const size_t stride_bytes = static_cast<size_t>(window_.stride) * x.frame_bytes();
  for (int64_t b = 0; b < x.batch; ++b) {
    window_.step_mask(ring.newest_mask(b, frames), frames, y.mask_at(b, 0));
    const std::byte* from = ring.newest(b, frames);
    for (int64_t t = 0; t < y.time; ++t, from += stride_bytes) {
      std::memcpy(y.frame(b, t), from, y.frame_bytes());
    }
  }
  return y;
}

SL_REGISTER_LAYER(Frame);

}  // namespace
}  // namespace sl
