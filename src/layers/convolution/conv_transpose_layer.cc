#include "layers/convolution/conv_transpose_layer.h"

namespace sl {

void ConvTransposeFields::read_transposed_axes(Config& config,
                                               const std::vector<const char*>& padding_fields,
                                               const std::vector<ops::Padding>& defaults) {
  read_axes(config, std::vector<ops::PaddingMode>(padding_fields.size()));
  for (size_t i = 0; i < axes.size(); ++i) {
    const ops::Padding mode = ops::read_transposed_padding(config, padding_fields[i], defaults[i]);
    windows.push_back({axes[i].kernel, axes[i].stride, axes[i].dilation, mode});
    const ops::TransposedWindow& window = windows.back();
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

ConvTransposeLayer::ConvTransposeLayer(const ConvTransposeFields& fields,
                                       const ConvWeights& weights)
    : windows_(fields.windows),
      convolution_(windows_, weights.groups, weights.kernel.real, weights.bias.real),
      output_(fields, weights.bias) {
  if (!weights.kernel.imaginary) return;
  imaginary_.emplace(windows_, weights.groups, *weights.kernel.imaginary, std::vector<float>());
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
  if (!supports_step() || time().history() == 0) return;
  ops::FrameHistory::declare(declaration, ring_of(layout_of(input.channels.shape)), input,
                             spec_of(input.channels).dtype);
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
    convolution_.convolve(in.parts[0], lengths, with_bias, run.parallel(), rows);
  });
}

Sequence ConvTransposeLayer::do_layer(Run& run, const Sequence& x) const {
  const ChannelSpec spec = spec_of(x.spec());
  const Sequence y = run.output(spec, x.batch, time().output_length(x.time));
  for (int64_t b = 0; b < x.batch; ++b) {
    time().layer_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
  }
  const ops::FrameLayout layout = layout_of(x.channels);
  const ops::Pads pads = convolution_.pads(0);
  compute(run, ops::pad_parts(run, layout, x, spec.dtype, pads, masks_input()), x, y);
  return y;
}

Sequence ConvTransposeLayer::do_step(Run& run, const Sequence& x) const {
  const ChannelSpec spec = spec_of(x.spec());
  const Sequence y = run.output(spec, x.batch, x.time * time().stride);
  for (int64_t b = 0; b < x.batch; ++b) {
    time().step_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
  }
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
