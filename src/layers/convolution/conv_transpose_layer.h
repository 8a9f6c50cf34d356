// Base of the transposed convolution layers: y = activation(conv_transpose(mask(x), kernel) +
// bias), over time and up to one spatial dimension.
#pragma once

#include <optional>
#include <vector>

#include "core/ring.h"
#include "layers/convolution/conv_fields.h"
#include "layers/convolution/conv_output.h"
#include "ops/padded_frames.h"
#include "ops/transposed_convolution.h"

namespace sl {

struct ConvTransposeFields : ConvFields {
  using ConvFields::ConvFields;
  // Reads kernel_size, strides, dilation_rate and paddings, one dimension for each padding field.
  void read_transposed_axes(Config& config, const std::vector<const char*>& padding_fields,
                            const std::vector<ops::Padding>& defaults);

  std::vector<ops::TransposedWindow> windows;  // time first
};

class ConvTransposeLayer : public Layer {
 public:
  ConvTransposeLayer(const ConvTransposeFields& fields, const Init& init)
      : ConvTransposeLayer(fields, read_conv_weights(fields, init)) {}

  Ratio output_ratio() const final { return Ratio(time().stride); }
  bool supports_step() const final { return time().supports_step(); }
  std::string step_obstacle() const final {
    return time().step_obstacle(windows_.size() > 1 ? "time_padding" : "padding");
  }
  int64_t input_latency() const final { return time().input_latency(); }
  int64_t output_latency() const final { return time().output_latency(); }
  ReceptiveFields receptive_field_per_step() const final { return time().receptive_field(); }

  std::optional<ChannelSpec> implied_input() const final;

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const final;
  int64_t do_output_length(int64_t length, const ChannelSpec&, const Constants&) const final {
    return time().output_length(length);
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const final;
  Sequence do_layer(Run& run, const Sequence& x) const final;
  Sequence do_step(Run& run, const Sequence& x) const final;

  ConvTransposeLayer(const ConvTransposeFields& fields, const ConvWeights& weights);

  const ops::TransposedWindow& time() const { return windows_[0]; }
  bool masks_input() const { return time().kernel > 1; }
  ChannelSpec spec_of(const ChannelSpec& input) const;
  ops::FrameLayout layout_of(const Shape& channels) const;
  RingSpec ring_of(const ops::FrameLayout& layout) const;
  Sequence cropped_layer(Run& run, const Sequence& x, const Sequence& y) const;
  void step_masks(Run& run, const Sequence& x, const Sequence& y) const;
  void compute(Run& run, const ops::FrameParts& in, const Sequence& x, const Sequence& y) const;

  std::vector<ops::TransposedWindow> windows_;
  ops::TransposedConvolution convolution_;
  // With the imaginary part of a complex kernel.
  std::optional<ops::TransposedConvolution> imaginary_;
  ConvOutput output_;
};

}  // namespace sl
