// Base of layers with separate dense weights for each step of a sequence. Steps after num_steps are
// NaN.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "layers/builder.h"
#include "layers/dense/fields.h"
#include "layers/stream_position.h"
#include "ops/elementwise.h"
#include "ops/linear.h"

namespace sl {

struct TimeDenseFields {
  explicit TimeDenseFields(Config& config)
      : features(config.integer("features", 1)),
        num_steps(config.integer("num_steps", 1)),
        use_bias(config.boolean("use_bias", true)),
        dense(config) {}
  int64_t features;
  int64_t num_steps;
  bool use_bias;
  DenseFields dense;
};

class TimeDenseLayer : public Layer {
 public:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape != Shape{inputs_}) {
      fail(Code::kShape, "expected channels [{}], got {}", inputs_, to_string(input.shape));
    }
    const DType dtype = compute_dtype(input.dtype);
    if (!is_float(dtype)) {
      fail(Code::kShape, "cannot compute on {}", name_of(input.dtype));
    }
    return {dtype, {fields_.features}};
  }
  std::optional<ChannelSpec> implied_input() const override {
    return ChannelSpec{DType::kFloat32, {inputs_}};
  }

 protected:
  // The input rows of the products.
  struct Input {
    const float* values;
    int64_t item_stride;  // floats from one batch item to the next
    int64_t step_stride;  // floats from the row of one step to that of the next
  };

  TimeDenseLayer(TimeDenseFields fields, const Tensor& kernel, const WeightScope& weights)
      : fields_(std::move(fields)),
        inputs_(kernel.shape[kernel.shape.rank() - 2]),
        kernel_(to_floats(kernel)) {
    if (fields_.use_bias) bias_ = weights.floats("bias", {fields_.num_steps, fields_.features});
    if (!fields_.dense.compute_dtype) return;
    const DType dtype = *fields_.dense.compute_dtype;
    ops::round_to(dtype, kernel_.data(), static_cast<int64_t>(kernel_.size()));
    ops::round_to(dtype, bias_.data(), static_cast<int64_t>(bias_.size()));
  }
  // Moves the kernel out of the layer, for a derived class that adds its values as products.
  std::vector<float> take_kernel() { return std::move(kernel_); }
  void add_product(const float* w, int64_t rows) {
    products_.emplace_back(w, fields_.features, 1, rows, fields_.features);
  }

  int64_t inputs() const { return inputs_; }
  int64_t num_steps() const { return fields_.num_steps; }
  DType compute_dtype(DType input) const {
    const auto& dtype = fields_.dense.compute_dtype;
    return dtype ? *dtype : promote_inexact(input, fields_.dense.param_dtype);
  }

  // Computes y for x, whose items begin at the given positions.
  Sequence apply(Run& run, const Sequence& x, const Input& input,
                 const StreamPositions& positions) const {
    const DType dtype = compute_dtype(x.dtype);
    const Sequence y = run.output_like(x, {dtype, {fields_.features}});
    const bool halves = dtype != DType::kFloat32;
    float* out = halves ? run.scratch<float>(y.size()) : y.floats();
    positions.each_range(x.batch, [&](int64_t b, int64_t count) {
      Input own = input;
      own.values += b * input.item_stride;
      apply_items(run, x.items(b, count), own, positions.of(b), dtype,
                  out + b * x.time * fields_.features);
    });
    if (halves) ops::convert(out, DType::kFloat32, y.values, dtype, y.size());
    return y;
  }

 private:
  // Computes items that begin at position `first`.
  void apply_items(const Run& run, const Sequence& x, const Input& input, int64_t first,
                   DType dtype, float* out) const {
    ops::for_steps(run, x.time, x.batch * inputs_ * fields_.features,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t t = begin; t < end; ++t) {
                       apply_step(run, input, first, t, x, dtype, out + t * fields_.features);
                     }
                   });
  }
  void apply_step(const Run& run, const Input& input, int64_t first, int64_t t, const Sequence& x,
                  DType dtype, float* y) const {
    const int64_t step = first + t, features = fields_.features, stride = x.time * features;
    if (step < num_steps()) {
      const float* bias = bias_.empty() ? nullptr : bias_.data() + step * features;
      const bool fused = dtype == DType::kFloat32;
      products_[static_cast<size_t>(step)].apply(run, input.values + t * input.step_stride,
                                                 input.item_stride, x.batch, fused ? bias : nullptr,
                                                 false, y, stride);
      for (int64_t b = 0; b < x.batch; ++b) finish(y + b * stride, fused ? nullptr : bias, dtype);
    } else {
      for (int64_t b = 0; b < x.batch; ++b) {
        std::fill_n(y + b * stride, features, std::numeric_limits<float>::quiet_NaN());
      }
    }
  }
  // Applies bias and activation to a product, and rounds each result to `dtype`.
  void finish(float* y, const float* bias, DType dtype) const {
    const int64_t features = fields_.features;
    ops::round_to(dtype, y, features);
    if (bias) {
      kernels::binary(kernels::Binary::kAdd, y, bias, y, features);
      ops::round_to(dtype, y, features);
    }
    if (fields_.dense.activation) ops::activate(y, features, *fields_.dense.activation, dtype);
  }

  TimeDenseFields fields_;
  int64_t inputs_;
  std::vector<float> kernel_;
  std::vector<float> bias_;
  std::vector<ops::Linear> products_;  // one for each step
};

}  // namespace sl
