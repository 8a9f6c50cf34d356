#include "layers/dsp/framing.h"

#include <algorithm>
#include <cstring>

#include "ops/elementwise.h"

namespace sl {

int64_t Framing::input_latency() const {
  if (window_.padding.mode == ops::Padding::kSemicausalFull) return window_.stride - 1;
  return window_.input_latency();
}

RingSpec Framing::ring_of(const ChannelSpec& frame) const {
  RingSpec out;
  out.frame = frame;
  out.history = window_.history();
  const bool invalid = history_is_invalid_ && window_.padding.mode == ops::Padding::kExplicit;
  out.mask_fill = window_.history_is_valid() && !invalid;
  return out;
}

void Framing::declare(Declaration& declaration, const SequenceSpec& input) const {
  if (!supports_step() || window_.history() == 0) return;
  Ring::declare(declaration, ring_of(input.channels), input.batch, input.time);
}

// Copies steps [first, first + count) of x, with zeros for invalid steps and steps outside of x.
void Framing::copy_steps(const Sequence& x, int64_t b, int64_t first, int64_t count,
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

void Framing::layer_mask(const Sequence& x, const Sequence& y) const {
  for (int64_t b = 0; b < x.batch; ++b) {
    window_.layer_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
  }
}

const std::byte* Framing::frame(const Sequence& x, int64_t b, int64_t t, std::byte* buffer) const {
  const int64_t first = t * window_.stride - window_.pads().before;
  const bool inside = first >= 0 && first + window_.kernel <= x.time;
  const auto length = static_cast<size_t>(window_.kernel);
  if (inside && (window_.kernel == 1 || !std::memchr(x.mask_at(b, first), 0, length))) {
    return x.frame(b, first);
  }
  copy_steps(x, b, first, window_.kernel, buffer);
  return buffer;
}

Framing::Frames Framing::step(Run& run, const Sequence& x, const Sequence& y) const {
  const size_t frame_bytes = x.frame_bytes();
  const size_t stride_bytes = static_cast<size_t>(window_.stride) * frame_bytes;
  auto* items = run.scratch<const std::byte*>(x.batch);
  const Sequence valid = window_.kernel == 1 ? x : ops::mask_invalid(run, x);
  if (window_.history() == 0) {
    // Without history, frames lie within the steps of the call.
    for (int64_t b = 0; b < x.batch; ++b) {
      window_.step_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
      items[b] = valid.frame(b, 0);
    }
    return {items, stride_bytes};
  }
  Ring ring(run, frame_bytes, window_.history());
  ring.push(valid);
  const int64_t frames = window_.history() + x.time;
  for (int64_t b = 0; b < x.batch; ++b) {
    window_.step_mask(ring.newest_mask(b, frames), frames, y.mask_at(b, 0));
    items[b] = ring.newest(b, frames);
  }
  return {items, stride_bytes};
}

}  // namespace sl
