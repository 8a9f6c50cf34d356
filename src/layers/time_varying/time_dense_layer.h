// Base of layers with separate dense weights for each step of a sequence. Steps after num_steps are
// NaN. A batch item of complex numbers is computed as two rows: real and imaginary parts.
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
        dense(config) {
    if (dense.activation) require_last_axis(config, "activation", *dense.activation, 3);
  }
  int64_t features;
  int64_t num_steps;
  bool use_bias;
  DenseFields dense;
};

class TimeDenseLayer : public Layer {
 public:
  std::optional<ChannelSpec> implied_input() const override {
    return ChannelSpec{DType::kFloat32, {inputs_}};
  }

 protected:
  // The input rows of the products.
  struct Input {
    const float* values;
    int64_t item_stride;  // floats from one row to the next
    int64_t step_stride;  // and from what one step multiplies to what the next one does
  };

  // One product for each step. The first one reads one step.
  TimeDenseLayer(TimeDenseFields fields, std::vector<ops::Linear> products,
                 const WeightScope& weights)
      : fields_(fields), inputs_(products.front().inputs()), products_(std::move(products)) {
    if (fields_.use_bias) bias_ = weights.floats("bias", {fields_.num_steps, fields_.features});
    if (!fields_.dense.compute_dtype) return;
    ops::round_to(*fields_.dense.compute_dtype, bias_.data(), static_cast<int64_t>(bias_.size()));
  }

  int64_t inputs() const { return inputs_; }
  int64_t num_steps() const { return fields_.num_steps; }
  DType compute_dtype(DType input) const {
    const auto& dtype = fields_.dense.compute_dtype;
    return dtype ? *dtype : promote_inexact(input, fields_.dense.param_dtype);
  }

  // Rows for each batch item.
  int64_t parts(DType input) const { return is_complex(compute_dtype(input)) ? 2 : 1; }
  // x's rows, [batch, parts, time, inputs].
  const float* rows_of(Run& run, const Sequence& x) const {
    if (parts(x.dtype) == 1) return ops::as_floats(run, x, compute_dtype(x.dtype));
    const int64_t row = x.time * inputs_;
    auto* rows = run.scratch<float>(2, x.size());
    std::fill_n(rows, 2 * x.size(), 0.0f);
    const float* real = ops::real_parts(run, x);
    for (int64_t b = 0; b < x.batch; ++b) {
      std::copy_n(real + b * row, row, rows + 2 * b * row);
      if (!is_complex(x.dtype)) continue;
      std::copy_n(real + x.size() + b * row, row, rows + (2 * b + 1) * row);
    }
    return rows;
  }

  // The steps of x, whose items begin at the layer's steps `positions`.
  Sequence apply(Run& run, const Sequence& x, const Input& input,
                 const StreamPositions& positions) const {
    const DType dtype = compute_dtype(x.dtype);
    const Sequence y = run.output_like(x, {dtype, {fields_.features}});
    const bool direct = dtype == DType::kFloat32;
    const int64_t parts = this->parts(x.dtype), row = x.time * fields_.features;
    float* out = direct ? y.floats() : run.scratch<float>(parts, y.size());
    positions.each_range(x.batch, [&](int64_t b, int64_t count) {
      Input own = input;
      own.values += b * parts * input.item_stride;
      apply_rows(run, own, positions.of(b), {count * parts, row, dtype}, x.time,
                 out + b * parts * row);
    });
    if (is_complex(dtype)) {
      finish_complex(out, y);
    } else if (!direct) {
      ops::convert(out, DType::kFloat32, y.values, dtype, y.size());
    }
    return y;
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape != Shape{inputs_}) {
      fail(Code::kShape, "expected channels [{}], got {}", inputs_, to_string(input.shape));
    }
    const DType dtype = compute_dtype(input.dtype);
    const auto& activation = fields_.dense.activation;
    const bool takes =
        is_float(dtype) || (is_complex(dtype) && (!activation || ops::takes_complex(*activation)));
    if (!takes) {
      fail(Code::kShape, "cannot compute on {}", name_of(input.dtype));
    }
    return {dtype, {fields_.features}};
  }

  struct OutputRows {
    int64_t count;
    int64_t stride;
    DType dtype;
  };

  static bool is_complex(DType dtype) { return dtype == DType::kComplex64; }

  // `time` steps of rows whose first step is the layer's step `first`.
  void apply_rows(const Run& run, const Input& input, int64_t first, const OutputRows& rows,
                  int64_t time, float* out) const {
    ops::for_steps(run, time, rows.count * inputs_ * fields_.features,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t t = begin; t < end; ++t) {
                       apply_step(run, input, first, rows, t, out + t * fields_.features);
                     }
                   });
  }
  void apply_step(const Run& run, const Input& input, int64_t first, const OutputRows& rows,
                  int64_t t, float* y) const {
    const int64_t step = first + t, features = fields_.features;
    if (step < num_steps()) {
      const float* bias = bias_.empty() ? nullptr : bias_.data() + step * features;
      const bool fused = rows.dtype == DType::kFloat32;
      // Only the real parts have a bias.
      if (bias) run.parallel().count(rows.count / (is_complex(rows.dtype) ? 2 : 1) * features);
      products_[static_cast<size_t>(step)].apply(run, input.values + t * input.step_stride,
                                                 input.item_stride, rows.count,
                                                 fused ? bias : nullptr, false, y, rows.stride);
      for (int64_t i = 0; i < rows.count; ++i) {
        const bool is_imaginary = is_complex(rows.dtype) && i % 2 != 0;
        finish(y + i * rows.stride, fused || is_imaginary ? nullptr : bias, rows.dtype);
      }
    } else {
      for (int64_t i = 0; i < rows.count; ++i) {
        std::fill_n(y + i * rows.stride, features, std::numeric_limits<float>::quiet_NaN());
      }
    }
  }

  // y of its real and imaginary parts, [batch, 2, time, features], and its activation.
  void finish_complex(const float* parts, const Sequence& y) const {
    const int64_t row = y.time * fields_.features;
    for (int64_t b = 0; b < y.batch; ++b) {
      auto* out = y.as<complex64>() + b * row;
      const float* real = parts + 2 * b * row;
      for (int64_t i = 0; i < row; ++i) out[i] = {real[i], real[row + i]};
      for (int64_t i = 0; i < row && fields_.dense.activation; i += fields_.features) {
        ops::activate(out + i, fields_.features, *fields_.dense.activation);
      }
    }
  }

  // Bias and activation, rounded at each point at which a computation in `dtype` rounds.
  void finish(float* y, const float* bias, DType dtype) const {
    const int64_t features = fields_.features;
    ops::round_to(dtype, y, features);
    if (bias) {
      kernels::binary(kernels::Binary::kAdd, y, bias, y, features);
      ops::round_to(dtype, y, features);
    }
    if (fields_.dense.activation && !is_complex(dtype)) {
      ops::activate(y, features, *fields_.dense.activation, dtype);
    }
  }

  TimeDenseFields fields_;
  int64_t inputs_;
  std::vector<float> bias_;
  std::vector<ops::Linear> products_;  // one for each step
};

}  // namespace sl
