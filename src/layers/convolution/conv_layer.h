// Base of all convolution layers: y = activation(conv(mask(x), kernel) + bias), over time and up
// to two spatial dimensions (reference: convolution.BaseConv).
#pragma once

#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "layers/convolution/conv_fields.h"
#include "layers/convolution/conv_output.h"
#include "layers/convolution/sliding_layer.h"
#include "layers/epilogue.h"
#include "ops/convolution.h"
#include "ops/direct_convolution.h"

namespace sl {

class ConvLayer : public SlidingLayer, public TakesEpilogue {
 public:
  ConvLayer(const ConvFields& fields, const Init& init)
      : ConvLayer(fields, read_conv_weights(fields, init)) {}

  std::optional<ChannelSpec> implied_input() const final;
  bool take(const Epilogue& epilogue) final;

 protected:
  ConvLayer(const ConvFields& fields, const ConvWeights& weights);

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const final;

  ChannelSpec spec_of(const ChannelSpec& input) const final;
  void compute(Run& run, const ops::ConvolutionInput& in, const Sequence& y) const final;
  void compute_complex(Run& run, std::span<const ops::ConvolutionInput> parts,
                       const Sequence& y) const final;
  bool pads_frames() const final;
  // Each piece reads all weights.
  InPieces in_pieces() const final;
  bool has_large_weights() const final;

  // By the method that suits the shape of the kernel.
  using Convolution = std::variant<ops::Convolution, ops::DirectConvolution>;
  static Convolution make(const ConvFields& fields, const ConvWeights& weights,
                          const ops::Kernel& kernel, const std::vector<float>& bias);
  static void convolve(Run& run, const Convolution& convolution, const ops::ConvolutionInput& in,
                       bool with_bias, float* y);
  int64_t channels() const;
  int64_t filters() const;

  Convolution convolution_;
  std::optional<Convolution> imaginary_;  // with the imaginary part of a complex kernel
  ConvOutput output_;
};

}  // namespace sl
