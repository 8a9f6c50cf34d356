#include "layers/convolution/sliding_layer.h"

#include <algorithm>
#include <array>
#include <utility>

namespace sl {

SlidingLayer::SlidingLayer(std::vector<ops::Window> axes) : axes_(std::move(axes)) {
  for (const ops::Window& axis : axes_) pads_.push_back(axis.pads());
}

Shape SlidingLayer::output_shape(const Shape& input, int64_t filters) const {
  Shape out;
  for (size_t i = 1; i < axes_.size(); ++i) {
    out.push_back(axes_[i].output_length(input[static_cast<int>(i) - 1]));
  }
  out.push_back(filters);
  return out;
}

RingSpec SlidingLayer::ring_of(const ops::FrameLayout& layout) const {
  RingSpec out;
  out.frame = {DType::kFloat32, {layout.size}};
  out.history = time().history();
  out.mask_fill = time().history_is_valid();
  return out;
}

void SlidingLayer::do_declare(Declaration& declaration, const SequenceSpec& input) const {
  if (!supports_step() || time().history() == 0) return;
  ops::FrameHistory::declare(declaration, ring_of(layout_of(input.channels.shape)), input,
                             spec_of(input.channels).dtype);
}

void SlidingLayer::compute_any(Run& run, const ops::FrameParts& in, const Sequence& y) const {
  if (y.dtype == DType::kComplex64) {
    compute_complex(run, in.all(), y);
  } else {
    compute(run, in.parts[0], y);
  }
}

Sequence SlidingLayer::do_layer(Run& run, const Sequence& x) const {
  const ChannelSpec spec = spec_of(x.spec());
  const Sequence y = run.output(spec, x.batch, time().output_length(x.time));
  for (int64_t b = 0; b < x.batch; ++b) {
    time().layer_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
  }
  const bool masks = time().kernel > 1;
  const auto frames = [&] {
    if (pads_frames()) return ops::bare_parts(run, x, spec.dtype, pads_, masks);
    return ops::pad_parts(run, layout_of(x.channels), x, spec.dtype, time().pads(), masks);
  };
  compute_any(run, frames(), y);
  return y;
}

Sequence SlidingLayer::do_piece(Run& run, const Sequence& x, int64_t b, int64_t begin,
                                int64_t end) const {
  const ops::Window& window = time();
  const ChannelSpec spec = spec_of(x.spec());
  const Sequence y = run.output(spec, 1, end - begin);
  window.layer_mask(x.mask_at(b, 0), x.time, begin, end, y.mask);
  const int64_t start = begin * window.stride - window.pads().before;
  const int64_t stop = start + (end - begin - 1) * window.stride + window.extent();
  const int64_t first = std::clamp<int64_t>(start, 0, x.time);
  const int64_t last = std::clamp(stop, first, x.time);
  std::array<ops::Pads, ops::kMaxConvolutionRank> pads;
  std::ranges::copy(pads_, pads.begin());
  pads[0] = {first - start, stop - last};
  ops::FrameParts in = ops::bare_parts(run, x.piece(b, first, last), spec.dtype,
                                       std::span(pads).first(pads_.size()), window.kernel > 1);
  in.parts[0].following = x.time - last;
  compute(run, in.parts[0], y);
  return y;
}

Sequence SlidingLayer::do_step(Run& run, const Sequence& x) const {
  const ChannelSpec spec = spec_of(x.spec());
  const Sequence y = run.output(spec, x.batch, x.time / time().stride);
  const ops::FrameLayout layout = layout_of(x.channels);
  const int64_t history = time().history();
  if (history == 0) {
    for (int64_t b = 0; b < x.batch; ++b) {
      time().step_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
    }
    const bool masks = time().kernel > 1;
    compute_any(run, ops::pad_parts(run, layout, x, spec.dtype, {0, 0}, masks), y);
    return y;
  }
  const ops::FrameHistory frames(run, layout, x, spec.dtype, ring_of(layout));
  for (int64_t b = 0; b < x.batch; ++b) {
    time().step_mask(frames.mask(b), history + x.time, y.mask_at(b, 0));
  }
  frames.each_range(run, has_large_weights(),
                    [&](const ops::FrameParts& in, int64_t first, int64_t count) {
                      compute_any(run, in, y.items(first, count));
                    });
  return y;
}

}  // namespace sl
