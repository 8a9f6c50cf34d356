#include "layers/dsp/framing.h"

#include <algorithm>
#include <cstring>

#include "ops/elementwise.h"

namespace sl {

Framing::Framing(ops::Window window, bool history_is_invalid, FrameEnds ends)
    : frame_length_(window.kernel),
      ends_(window.is_by_amounts() ? ends : FrameEnds::kZeros),
      window_(window),
      history_is_invalid_(history_is_invalid) {
  if (ends_ != FrameEnds::kReflect) return;
  // The first frame mirrors as many steps as are padded, and the last one too, which can be more
  // than lie within.
  ops::Pads& pads = window_.padding.amounts;
  const int64_t all = frame_length_ - 1;
  const int64_t later = std::max<int64_t>(0, 2 * pads.before - all);
  skipped_ = std::max<int64_t>(0, 2 * pads.after - all);
  window_.kernel += skipped_ + later;
  pads.before += skipped_;
  pads.after += later;
}

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

size_t Framing::buffer_bytes(const Sequence& x) const {
  const int64_t steps = copies_ends() ? checked_sum(window_.kernel, frame_length_) : frame_length_;
  return checked_bytes(steps, x.frame_bytes()) +
         (copies_ends() ? static_cast<size_t>(window_.kernel) : size_t{0});
}

const std::byte* Framing::frame(const Sequence& x, bool valid, int64_t b, int64_t t,
                                std::byte* buffer) const {
  const int64_t first = t * window_.stride - window_.pads().before;
  const bool inside = first >= 0 && first + window_.kernel <= x.time;
  const auto length = static_cast<size_t>(window_.kernel);
  valid = valid || window_.kernel == 1;
  if (inside && (valid || !std::memchr(x.mask_at(b, first), 0, length))) {
    return x.frame(b, first + skipped_);
  }
  if (!copies_ends()) {
    copy_steps(x, b, first, window_.kernel, buffer);
    return buffer;
  }
  std::byte* const steps = buffer + static_cast<size_t>(frame_length_) * x.frame_bytes();
  auto* const mask = reinterpret_cast<uint8_t*>(steps + length * x.frame_bytes());
  copy_steps(x, b, first, window_.kernel, steps);
  for (int64_t i = 0; i < window_.kernel; ++i) {
    const int64_t at = first + i;
    mask[i] = at >= 0 && at < x.time ? *x.mask_at(b, at) : 0;
  }
  return with_ends(steps, mask, x.frame_bytes(), buffer);
}

const std::byte* Framing::with_ends(const std::byte* window, const uint8_t* mask, size_t step_bytes,
                                    std::byte* buffer) const {
  const int64_t length = window_.kernel;
  const std::byte* const own = window + static_cast<size_t>(skipped_) * step_bytes;
  if (!std::memchr(mask, 0, static_cast<size_t>(length))) return own;
  int64_t first = 0, last = length - 1;
  while (first < length && !mask[first]) ++first;
  while (last > first && !mask[last]) --last;
  for (int64_t i = 0; i < frame_length_; ++i) {
    int64_t from = skipped_ + i;
    const bool mirrors = ends_ == FrameEnds::kReflect;
    if (from > last) from = mirrors ? 2 * last - from : last;
    if (from < first) from = mirrors ? 2 * first - from : first;
    std::byte* const to = buffer + static_cast<size_t>(i) * step_bytes;
    if (from >= 0 && from < length && mask[from]) {
      std::memcpy(to, window + static_cast<size_t>(from) * step_bytes, step_bytes);
    } else {
      std::memset(to, 0, step_bytes);
    }
  }
  return buffer;
}

Framing::Frames Framing::step(Run& run, const Sequence& x, const Sequence& y) const {
  const size_t frame_bytes = x.frame_bytes();
  auto* items = run.scratch<const std::byte*>(x.batch);
  auto* masks = run.scratch<const uint8_t*>(x.batch);
  const Frames out{this, items, copies_ends() ? masks : nullptr, frame_bytes};
  const Sequence valid = window_.kernel == 1 ? x : ops::mask_invalid(run, x);
  if (window_.history() == 0) {
    // Without history, frames lie within the steps of the call.
    for (int64_t b = 0; b < x.batch; ++b) {
      masks[b] = x.mask_at(b, 0);
      window_.step_mask(masks[b], x.time, y.mask_at(b, 0));
      items[b] = valid.frame(b, 0);
    }
    return out;
  }
  Ring ring(run, frame_bytes, window_.history());
  ring.push(valid);
  const int64_t frames = window_.history() + x.time;
  for (int64_t b = 0; b < x.batch; ++b) {
    masks[b] = ring.newest_mask(b, frames);
    window_.step_mask(masks[b], frames, y.mask_at(b, 0));
    items[b] = ring.newest(b, frames);
  }
  return out;
}

}  // namespace sl
