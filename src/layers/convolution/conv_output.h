// What convolution layers do after the products: bias, activation, rounding.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "layers/convolution/conv_fields.h"
#include "layers/layer.h"

namespace sl {

class ConvOutput {
 public:
  ConvOutput(const ConvFields& fields, std::vector<float> bias)
      : activation_(fields.activation),
        compute_dtype_(fields.compute_dtype),
        param_dtype_(fields.param_dtype),
        bias_(std::move(bias)) {}

  DType dtype(DType input) const {
    return compute_dtype_.value_or(promote_inexact(input, param_dtype_));
  }
  // Fails unless `input` has rank - 1 spatial dimensions, then `channels` of a dtype that can be
  // computed with.
  void check(const Layer& layer, const ChannelSpec& input, size_t rank, int64_t channels) const;

  // y = activation(convolution + bias): convolve(with_bias, out) computes it but for the
  // activation.
  template <typename Fn>
  void write(Run& run, const Sequence& y, Fn&& convolve) const {
    if (y.dtype == DType::kFloat32) {
      convolve(true, y.floats());
      activate(run, y);
    } else {
      auto* rows = run.scratch<float>(y.size());
      convolve(false, rows);
      round(rows, y);
    }
  }

 private:
  void activate(Run& run, const Sequence& y) const;
  void round(float* rows, const Sequence& y) const;

  std::optional<Activation> activation_;
  std::optional<DType> compute_dtype_;
  DType param_dtype_;
  std::vector<float> bias_;
};

}  // namespace sl
