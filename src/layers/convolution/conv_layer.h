// What all convolution layers share: y = activation(conv(mask(x), kernel) + bias), over time and up
// to two spatial dimensions (reference: convolution.BaseConv).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/ring.h"
#include "layers/builder.h"
#include "layers/convolution/kernel.h"
#include "ops/activation.h"
#include "ops/convolution.h"
#include "ops/window.h"

namespace sl {

struct ConvFields {
  // Reads what layers of all ranks have, but for the kernel's form.
  explicit ConvFields(Config& config);
  // How the kernel slides over time and `rank` - 1 spatial dimensions.
  void read_axes(Config& config, size_t rank);
  // Fields `filters` and `groups`, for layers that mix channels.
  void read_filters(Config& config);

  std::vector<ops::Window> axes;  // time first
  KernelFields kernel;
  int64_t filters = 0;  // 0: multiplier * input channels, in as many groups as these
  int64_t multiplier = 1;
  int64_t groups = 1;
  bool use_bias = true;
  std::optional<Activation> activation;
  std::optional<DType> compute_dtype;
  DType param_dtype = DType::kFloat32;
};

class ConvLayer : public Layer {
 public:
  ConvLayer(const ConvFields& fields, const Init& init);

  int64_t block_size() const final { return time().stride; }
  Ratio output_ratio() const final { return Ratio(1, time().stride); }
  bool supports_step() const final { return time().supports_step(); }
  int64_t input_latency() const final { return time().input_latency(); }
  int64_t output_latency() const final { return time().output_latency(); }
  ReceptiveFields receptive_field_per_step() const final { return time().receptive_field(); }

  ChannelSpec output_spec(const ChannelSpec& input, const Constants&) const final;
  int64_t output_length(int64_t length, const ChannelSpec&) const final {
    return time().output_length(length);
  }
  std::optional<ChannelSpec> implied_input() const final;
  void declare(Declaration& declaration, const SequenceSpec& input) const final;

  Sequence layer(Run& run, const Sequence& x) const final;
  Sequence step(Run& run, const Sequence& x) const final;

 private:
  // A frame with its spatial padding: where the `rows` runs of `row` floats that it holds lie in
  // it.
  struct Frame {
    std::array<int64_t, ops::kMaxConvolutionRank> sizes =
        {};            // padded spatial ones, from index 1 on
    int64_t size = 0;  // floats
    int64_t rows = 1;
    int64_t row = 0;
    int64_t pitch = 0;
    int64_t offset = 0;

    bool is_padded() const { return size != row; }
  };
  struct Weights {
    ops::Convolution convolution;
    std::vector<float> bias;
  };

  static Weights read_weights(const ConvFields& fields, const Init& init);
  const ops::Window& time() const { return axes_[0]; }
  bool masks_input() const { return time().kernel > 1; }
  ChannelSpec output_spec_of(const ChannelSpec& input) const;
  Frame frame_of(const Shape& channels) const;
  RingSpec ring_of(const Frame& frame) const;
  void copy_frames(const Frame& frame, const float* x, const uint8_t* mask, int64_t count,
                   float* out) const;
  ops::ConvolutionInput pad(Run& run, const Sequence& x, DType dtype, ops::Pads pads) const;
  void compute(Run& run, const ops::ConvolutionInput& in, const Sequence& y) const;

  std::vector<ops::Window> axes_;
  std::optional<Activation> activation_;
  std::optional<DType> compute_dtype_;
  DType param_dtype_;
  Weights weights_;
};

}  // namespace sl
