#include "layers/convolution/conv_transpose_layer.h"

#include <algorithm>
#include <cstring>

namespace sl {

void ConvTransposeFields::read_transposed_axes(Config& config,
                                               const std::vector<const char*>& padding_fields,
                                               const std::vector<ops::Padding>& defaults) {
  read_axes(config, std::vector<ops::PaddingMode>(padding_fields.size()));
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto [mode, amounts] =
        ops::read_transposed_padding(config, padding_fields[i], defaults[i]);
    windows.push_back({axes[i].kernel, axes[i].stride, axes[i].dilation, mode, amounts});
    const ops::TransposedWindow& window = windows.back();
    if (std::max(amounts.before, amounts.after) >= window.extent() && window.is_by_amounts()) {
      config.error(padding_fields[i],
                   fmt::format("expected amounts of at most {}, as an input step "
                               "reaches {} output steps",
                               window.extent() - 1, window.extent()));
    }
    if (mode != ops::Padding::kSemicausalFull || window.surplus() == 0) continue;
    // Other kernels would give outputs of other lengths than in the reference.
    if (i > 0) {
      config.error(padding_fields[i],
                   fmt::format("\"semicausal_full\" takes kernels of extent 2 * stride - 1 = {}, "
                               "got one of extent {}",
                               2 * window.stride - 1, window.extent()));
    }
    if (window.extent() <= window.stride) {
      config.error(padding_fields[i],
                   fmt::format("\"semicausal_full\" takes kernels that cover more than the stride "
                               "{}, got one of extent {}",
                               window.stride, window.extent()));
    }
  }
}

namespace {

// With amounts in time the convolution is the causal one, whose output is cut.
std::vector<ops::TransposedWindow> computed(std::vector<ops::TransposedWindow> windows) {
  if (windows[0].is_by_amounts()) windows[0].mode = ops::Padding::kCausal;
  return windows;
}

}  // namespace

ConvTransposeLayer::ConvTransposeLayer(const ConvTransposeFields& fields,
                                       const ConvWeights& weights)
    : windows_(fields.windows),
      convolution_(computed(windows_), weights.groups, weights.kernel.real, weights.bias.real),
      output_(fields, weights.bias) {
  if (!weights.kernel.imaginary) return;
  imaginary_.emplace(computed(windows_), weights.groups, *weights.kernel.imaginary,
                     std::vector<float>());
}

ChannelSpec ConvTransposeLayer::spec_of(const ChannelSpec& input) const {
  ChannelSpec out{output_.dtype(input.dtype), {}};
  for (size_t i = 1; i < windows_.size(); ++i) {
    out.shape.push_back(windows_[i].output_length(input.shape[static_cast<int>(i) - 1]));
  }
  out.shape.push_back(convolution_.filters());
  return out;
}

ChannelSpec ConvTransposeLayer::do_output_spec(const ChannelSpec& input, const Constants&) const {
  output_.check(input, windows_.size(), convolution_.channels(), true);
  return spec_of(input);
}

std::optional<ChannelSpec> ConvTransposeLayer::implied_input() const {
  if (windows_.size() > 1) return std::nullopt;
  return ChannelSpec{DType::kFloat32, {convolution_.channels()}};
}

ops::FrameLayout ConvTransposeLayer::layout_of(const Shape& channels) const {
  const ops::Pads spatial[] = {convolution_.pads(1), convolution_.pads(2)};
  return {channels, std::span(spatial, windows_.size() - 1)};
}

RingSpec ConvTransposeLayer::ring_of(const ops::FrameLayout& layout) const {
  RingSpec out;
  out.frame = {DType::kFloat32, {layout.size}};
  out.history = time().history();
  return out;
}

void ConvTransposeLayer::do_declare(Declaration& declaration, const SequenceSpec& input) const {
  if (!supports_step()) return;
  if (time().mask_history() > 0 && input.mode == Mode::kStep)
    declaration.state("valid", DType::kBool, {input.batch, time().mask_history()});
  if (time().history() == 0) return;
  ops::FrameHistory::declare(declaration, ring_of(layout_of(input.channels.shape)), input,
                             spec_of(input.channels).dtype);
}

// Computes the causal output and copies what is left of it to y.
Sequence ConvTransposeLayer::cropped_layer(Run& run, const Sequence& x, const Sequence& y) const {
  const int64_t crop = time().crop(), stride = time().stride;
  Sequence longer = x;
  longer.time = std::max(x.time, ceil_div(checked_sum(crop, y.time), stride));
  const Sequence all = run.scratch_sequence(y.spec(), x.batch, longer.time * stride);
  const ops::Pads pads{convolution_.pads(0).before, longer.time - x.time};
  compute(run, ops::pad_parts(run, layout_of(x.channels), x, y.dtype, pads, masks_input()), longer,
          all);
  for (int64_t b = 0; b < y.batch && y.time > 0; ++b) {
    std::memcpy(y.frame(b, 0), all.frame(b, crop), static_cast<size_t>(y.time) * y.frame_bytes());
  }
  return y;
}

// The masks of a step. With amounts the latest masks of the input are kept.
void ConvTransposeLayer::step_masks(Run& run, const Sequence& x, const Sequence& y) const {
  const int64_t history = time().mask_history();
  if (history == 0) {
    for (int64_t b = 0; b < x.batch; ++b)
      time().step_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
    return;
  }
  const auto kept = run.state<uint8_t>("valid");
  auto* masks = run.scratch<uint8_t>(history + x.time);
  for (int64_t b = 0; b < x.batch; ++b) {
    std::copy_n(kept.get() + b * history, history, masks);
    std::copy_n(x.mask_at(b, 0), x.time, masks + history);
    time().step_mask(masks, x.time, y.mask_at(b, 0));
    std::copy_n(masks + x.time, history, kept.get() + b * history);
  }
}

void ConvTransposeLayer::compute(Run& run, const ops::FrameParts& in, const Sequence& x,
                                 const Sequence& y) const {
  std::array<int64_t, ops::kMaxConvolutionRank> lengths = {x.time};
  for (size_t i = 1; i < windows_.size(); ++i) lengths[i] = x.channels[static_cast<int>(i) - 1];
  if (y.dtype == DType::kComplex64) {
    output_.write_complex(run, y, in.count, imaginary_.has_value(),
                          [&](size_t part, bool imaginary, float* rows) {
                            (imaginary ? *imaginary_ : convolution_)
                                .convolve(in.parts[part], lengths, false, run.parallel(), rows);
                          });
    return;
  }
  output_.write(run, y, [&](bool with_bias, float* rows) {
    convolution_.convolve(ops::packed_input(run, convolution_, in.parts[0]), lengths, with_bias,
                          run.parallel(), rows);
  });
}

Sequence ConvTransposeLayer::do_layer(Run& run, const Sequence& x) const {
  const ChannelSpec spec = spec_of(x.spec());
  const Sequence y = run.output(spec, x.batch, time().output_length(x.time));
  for (int64_t b = 0; b < x.batch; ++b) {
    time().layer_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
  }
  if (time().is_by_amounts()) return cropped_layer(run, x, y);
  const ops::FrameLayout layout = layout_of(x.channels);
  const ops::Pads pads = convolution_.pads(0);
  compute(run, ops::pad_parts(run, layout, x, spec.dtype, pads, masks_input()), x, y);
  return y;
}

Sequence ConvTransposeLayer::do_step(Run& run, const Sequence& x) const {
  const ChannelSpec spec = spec_of(x.spec());
  const Sequence y = run.output(spec, x.batch, x.time * time().stride);
  step_masks(run, x, y);
  const ops::FrameLayout layout = layout_of(x.channels);
  const int64_t history = time().history();
  if (history == 0) {
    compute(run, ops::pad_parts(run, layout, x, spec.dtype, {0, 0}, masks_input()), x, y);
    return y;
  }
  const ops::FrameHistory frames(run, layout, x, spec.dtype, ring_of(layout));
  frames.each_range(run, /*at_once=*/true,
                    [&](const ops::FrameParts& in, int64_t first, int64_t count) {
                      compute(run, in, x.items(first, count), y.items(first, count));
                    });
  return y;
}

}  // namespace sl
