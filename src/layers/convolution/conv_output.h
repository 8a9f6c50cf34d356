// The bias, activation and rounding that follow the products of a convolution.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "kernels/pointwise.h"
#include "layers/convolution/conv_fields.h"
#include "layers/layer.h"
#include "ops/normalize.h"

namespace sl {

class ConvOutput {
 public:
  ConvOutput(const ConvFields& fields, TensorParts bias)
      : activation_(fields.activation),
        compute_dtype_(fields.compute_dtype),
        param_dtype_(fields.param_dtype),
        bias_(std::move(bias)),
        operations_((activation_ ? 1 : 0) + (bias_.real.empty() ? 0 : 1)) {}

  DType dtype(DType input) const {
    return compute_dtype_.value_or(promote_inexact(input, param_dtype_));
  }
  // Fails unless `input` has rank - 1 spatial dimensions and then `channels`, of a dtype that the
  // layer supports. Complex numbers are supported only with `takes_complex`.
  void check(const ChannelSpec& input, size_t rank, int64_t channels,
             bool takes_complex = false) const;

  // Whether all is computed in float32 or complex64 and there is no activation yet, so that what
  // follows can be taken over.
  bool takes_more() const {
    return !activation_ && !compute_dtype_ && param_dtype_ == DType::kFloat32;
  }
  // Take over what follows, before the first use.
  void activate_by(const Activation& activation) {
    activation_ = activation;
    activation_is_taken_ = true;
  }
  // Makes the bias that of (y - shift) * scale + bias, and returns it.
  const std::vector<float>& transform_bias(const ops::AxisAffine& affine);
  // Applies (y - shift) * scale + bias before the activation; false if there is such a function
  // already.
  bool transform_by(const ops::AxisAffine& affine);

  // Writes y = activation(convolution + bias), where convolve(with_bias, out) writes the
  // convolution, plus the bias if asked for.
  template <typename Fn>
  void write(Run& run, const Sequence& y, Fn&& convolve) const {
    count(run, y.size());
    if (y.dtype == DType::kFloat32) {
      convolve(true, y.floats());
      finish(run, y);
    } else {
      auto* rows = run.scratch<float>(y.size());
      convolve(false, rows);
      round(rows, y);
    }
    activate_across(run, y);
  }

  // Like write, with convolve(with_bias, activation, out), which applies the activation to each row
  // of filters if it is not null.
  template <typename Fn>
  void write_activated(Run& run, const Sequence& y, Fn&& convolve) const {
    if (y.dtype != DType::kFloat32) {
      write(run, y, [&](bool with_bias, float* out) { convolve(with_bias, nullptr, out); });
      return;
    }
    count(run, y.size());
    convolve(true, activates_rows(y) ? &*activation_ : nullptr, y.floats());
    activate_across(run, y);
  }

  // Like write, for complex y: convolve(part, imaginary, out) writes the convolution, without bias,
  // of the input's real or imaginary part (a real input has one part) with a part of the kernel.
  template <typename Fn>
  void write_complex(Run& run, const Sequence& y, size_t parts, bool complex_kernel,
                     Fn&& convolve) const {
    using kernels::Binary;
    const int64_t size = y.size();
    count(run, size);
    auto* real = run.scratch<float>(2, size);
    float* imaginary = real + size;
    convolve(size_t{0}, false, real);
    if (parts == 2) {
      convolve(size_t{1}, false, imaginary);
    } else {
      std::fill_n(imaginary, size, 0.0f);
    }
    if (complex_kernel) {
      auto* turned = run.scratch<float>(size);
      convolve(size_t{0}, true, turned);
      kernels::binary(Binary::kAdd, imaginary, turned, imaginary, size);
      if (parts == 2) {
        convolve(size_t{1}, true, turned);
        kernels::binary(Binary::kSubtract, real, turned, real, size);
      }
    }
    finish_complex(real, imaginary, y);
    activate_across(run, y);
  }

 private:
  // Counts the bias and the activation of the outputs. What was taken over counts for its layer.
  void count(const Run& run, int64_t outputs) const { run.parallel().count(operations_ * outputs); }
  // Whether the activation is applied to each row of filters.
  bool activates_rows(const Sequence& y) const {
    return activation_ && keeps_to_rows(*activation_, y.channels.rank());
  }
  // Applies the affine function and an activation of rows.
  void finish(Run& run, const Sequence& y) const;
  // Applies an activation that is over other axes than the last.
  void activate_across(Run& run, const Sequence& y) const;
  void round(float* rows, const Sequence& y) const;
  void finish_complex(const float* real, const float* imaginary, const Sequence& y) const;

  std::optional<Activation> activation_;
  bool activation_is_taken_ = false;
  std::optional<DType> compute_dtype_;
  DType param_dtype_;
  TensorParts bias_;
  int64_t operations_;                     // for each output, of its own bias and activation
  std::optional<ops::AxisAffine> affine_;  // of as many rows as make a kernel call worth while
};

}  // namespace sl
