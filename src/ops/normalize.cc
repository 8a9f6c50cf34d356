#include "ops/normalize.h"

#include <algorithm>
#include <cmath>

#include "kernels/normalize.h"
#include "kernels/pointwise.h"
#include "kernels/reduce.h"
#include "ops/elementwise.h"
#include "ops/rearrange.h"
#include "ops/rows.h"

namespace sl::ops {
namespace {

using kernels::Binary;

float rounded(DType dtype, float value) {
  round_to(dtype, &value, 1);
  return value;
}

// Sums the squares of x, each rounded to `dtype`.
float sum_of_rounded_squares(const float* x, int64_t n, DType dtype) {
  constexpr int64_t kChunk = 256;
  float squares[kChunk];
  float sum = 0;
  for (int64_t i = 0; i < n; i += kChunk) {
    const int64_t count = std::min(kChunk, n - i);
    kernels::binary(Binary::kMultiply, x + i, x + i, squares, count);
    round_to(dtype, squares, count);
    sum += kernels::sum(squares, count);
  }
  return sum;
}

// Normalizes one row and rounds the result of every operation to `dtype`. Means are computed in
// float32.
void normalize_rounded(const ChannelNorm& norm, DType dtype, const float* x, int64_t length,
                       float* y) {
  const auto n = static_cast<float>(length);
  const float mean = norm.norm == Norm::kLayer ? rounded(dtype, kernels::sum(x, length) / n) : 0.0f;
  kernels::binary_scalar(Binary::kSubtract, x, mean, y, length);
  round_to(dtype, y, length);
  const float square = rounded(dtype, sum_of_rounded_squares(y, length, dtype) / n);
  const float epsilon = rounded(dtype, static_cast<float>(norm.epsilon));
  const float factor = rounded(dtype, 1.0f / std::sqrt(rounded(dtype, square + epsilon)));
  kernels::binary_scalar(Binary::kMultiply, y, factor, y, length);
  round_to(dtype, y, length);
}

// Normalizes one row of complex values. As in JAX, the square of x is x * x, not |x|^2.
void normalize_complex(const ChannelNorm& norm, const complex64* x, int64_t length, complex64* y) {
  using Wide = std::complex<double>;
  const double n = norm.norm == Norm::kL2 ? 1.0 : static_cast<double>(length);
  Wide mean, square;
  if (norm.norm == Norm::kLayer) {
    for (int64_t i = 0; i < length; ++i) mean += Wide(x[i]) / n;
  }
  for (int64_t i = 0; i < length; ++i) square += (Wide(x[i]) - mean) * (Wide(x[i]) - mean);
  const Wide factor = 1.0 / std::sqrt(square / n + norm.epsilon);
  for (int64_t i = 0; i < length; ++i) {
    y[i] = static_cast<complex64>((Wide(x[i]) - mean) * factor);
  }
}

void normalize_floats(const ChannelNorm& norm, const float* x, int64_t rows, int64_t length,
                      const float* scale, const float* bias, float* y) {
  const auto epsilon = static_cast<float>(norm.epsilon);
  if (norm.norm == Norm::kLayer) {
    kernels::layer_norm(x, rows, length, epsilon, scale, bias, y);
  } else {
    const float divisor = norm.norm == Norm::kL2 ? 1.0f : static_cast<float>(length);
    kernels::rms_norm(x, rows, length, divisor, epsilon, scale, y);
  }
}

// `channels` with 1 for all axes whose bits are not set.
Shape shape_of_axes(const Shape& channels, uint32_t axes) {
  Shape out = channels;
  for (int i = 0; i < out.rank(); ++i) {
    if (!(axes >> i & 1u)) out[i] = 1;
  }
  return out;
}

const float* floats_of(Run& run, const std::optional<BroadcastOperand>& parameter) {
  if (!parameter) return nullptr;
  return reinterpret_cast<const float*>(parameter->values(run, DType::kFloat32));
}

// How often the parameters of a frame are repeated, so that one kernel call covers several short
// frames.
int64_t repetitions(int64_t frame, int64_t steps) {
  constexpr int64_t kShort = 64, kLong = 256;
  if (frame >= kShort || frame == 0) return 1;
  return std::clamp<int64_t>(steps, 1, kLong / frame);
}

void repeat_frame(float* frame, int64_t size, int64_t times) {
  for (int64_t i = 1; i < times; ++i) std::copy_n(frame, size, frame + i * size);
}

// Shift, scale and bias of `size` elements each, which repeat over the data.
struct FrameAffine {
  const float* shift;
  const float* scale;
  const float* bias;
  int64_t size;

  void apply(const float* x, int64_t count, float* y) const {
    for (int64_t i = 0; i < count; i += size) {
      kernels::shift_and_scale(x + i, shift, scale, bias, std::min(size, count - i), y + i);
    }
  }
  // Converts bfloat16 and float16 to float32 and back around the computation.
  void apply(DType dtype, const std::byte* x, int64_t count, std::byte* y) const {
    for (int64_t i = 0; i < count; i += size) {
      const size_t at = static_cast<size_t>(i) * size_of(dtype);
      map_as_floats(x + at, dtype, y + at, dtype, std::min(size, count - i),
                    [&](float* v, int64_t k, int64_t n) {
                      kernels::shift_and_scale(v, shift + k, scale + k, bias + k, n, v);
                    });
    }
  }
};

// Mean and sum of squared deviations of the values seen so far.
struct Moments {
  double mean = 0;
  double squares = 0;

  // Adds the moments of `more` values to these of `count` values (Chan, Golub and LeVeque).
  void join(double count, const Moments& other, double more) {
    const double difference = other.mean - mean, share = more / (count + more);
    mean += difference * share;
    squares += other.squares + difference * difference * count * share;
  }
};

// Scratch of a normalization over time for one batch item.
struct TimeScratch {
  Moments* moments;  // [groups]
  Moments* block;
  float* shift;  // for each element of a frame, repeated
  float* factor;
  float* bias;
};

class OverTime {
 public:
  OverTime(Run& run, const Sequence& x, const ChannelGroups& groups)
      : x_(x), frame_(x.frame_size()), times_(repetitions(frame_, x.time)) {
    Shape kept = shape_of_axes(groups.shape, groups.axes);
    group_count_ = kept.size();
    group_size_ = group_count_ == 0 ? 0 : frame_ / group_count_;
    auto* indices = run.scratch<int32_t>(group_count_);
    for (int64_t i = 0; i < group_count_; ++i) indices[i] = static_cast<int32_t>(i);
    group_of_ = run.scratch<int32_t>(frame_);
    gather(broadcast_view(kept, groups.shape), reinterpret_cast<const std::byte*>(indices),
           sizeof(int32_t), reinterpret_cast<std::byte*>(group_of_));
  }

  TimeScratch scratch(Run& run) const {
    return {run.scratch<Moments>(group_count_), run.scratch<Moments>(group_count_),
            run.scratch<float>(frame_, times_), run.scratch<float>(frame_, times_),
            run.scratch<float>(frame_, times_)};
  }

  // Normalizes item b of x from `in` to `out`. `scale` and `bias` have one value per frame element.
  void normalize(int64_t b, const float* in, double epsilon, const float* scale, const float* bias,
                 const TimeScratch& s, float* out) const {
    std::fill_n(s.moments, group_count_, Moments());
    const int64_t steps = moments_of(b, in, s);
    const double count = static_cast<double>(std::max<int64_t>(steps * group_size_, 1));
    for (int64_t k = 0; k < frame_; ++k) {
      const Moments& moments = s.moments[group_of_[k]];
      const auto variance = static_cast<float>(moments.squares / count);
      s.shift[k] = static_cast<float>(moments.mean);
      s.factor[k] = scale[k] / std::sqrt(variance + static_cast<float>(epsilon));
      s.bias[k] = bias[k];
    }
    for (float* array : {s.shift, s.factor, s.bias}) repeat_frame(array, frame_, times_);
    FrameAffine{s.shift, s.factor, s.bias, frame_ * times_}.apply(in, x_.time * frame_, out);
  }

 private:
  // Computes the moments of all groups over the valid steps in one pass, by blocks of steps that
  // stay in cache. Returns the number of valid steps.
  int64_t moments_of(int64_t b, const float* in, const TimeScratch& s) const {
    constexpr int64_t kBlockFloats = 4096, kMaxSteps = 256;
    const int64_t most = std::clamp<int64_t>(kBlockFloats / frame_, 1, kMaxSteps);
    const uint8_t* mask = x_.mask_at(b, 0);
    int64_t steps = 0;
    for (int64_t t = 0, end = 0; t < x_.time; t = std::max(end, t + 1)) {
      for (end = t; end < x_.time && end < t + most && mask[end];) ++end;
      if (end == t) continue;
      block_moments(in + t * frame_, end - t, s);
      const auto before = static_cast<double>(steps * group_size_);
      const auto more = static_cast<double>((end - t) * group_size_);
      for (int64_t g = 0; g < group_count_; ++g) s.moments[g].join(before, s.block[g], more);
      steps += end - t;
    }
    return steps;
  }

  void block_moments(const float* in, int64_t steps, const TimeScratch& s) const {
    const auto count = static_cast<double>(steps * group_size_);
    std::fill_n(s.block, group_count_, Moments());
    kernels::column_sums(in, steps, frame_, s.factor);
    for (int64_t k = 0; k < frame_; ++k) {
      s.block[group_of_[k]].mean += static_cast<double>(s.factor[k]) / count;
    }
    for (int64_t k = 0; k < frame_; ++k) {
      s.shift[k] = static_cast<float>(s.block[group_of_[k]].mean);
    }
    kernels::column_deviations(in, s.shift, steps, frame_, s.factor);
    for (int64_t k = 0; k < frame_; ++k) {
      s.block[group_of_[k]].squares += static_cast<double>(s.factor[k]);
    }
  }

  const Sequence& x_;
  int64_t frame_;
  int64_t times_;
  int64_t group_count_;
  int64_t group_size_;
  int32_t* group_of_;
};

// Expands the values of a channel axis to all elements of a frame, with their imaginary parts if
// they are complex, and repeats the frame.
float* expand_axis(Run& run, const std::vector<float>& values, const Shape& channels, int axis,
                   int64_t parts, bool imaginary, int64_t times) {
  const int64_t frame = channels.size();
  float* out = run.scratch<float>(frame, parts, times);
  const auto* from = reinterpret_cast<const std::byte*>(values.data());
  const StridedView view = broadcast_view(shape_of_axes(channels, 1u << axis), channels);
  gather(view, from, sizeof(float), reinterpret_cast<std::byte*>(out));
  if (parts == 2) {
    for (int64_t i = frame - 1; i >= 0; --i) {
      out[2 * i + 1] = imaginary ? out[i] : 0.0f;
      out[2 * i] = out[i];
    }
  }
  repeat_frame(out, frame * parts, times);
  return out;
}

}  // namespace

DType normalized_dtype(const ChannelNorm& norm, DType input) {
  return norm.in_float32 ? input : promote_inexact(input, input);
}

Sequence normalize_channels(Run& run, const Sequence& x, uint32_t axes, const ChannelNorm& norm,
                            const NormParameters& parameters) {
  const Sequence y = run.output_like(x, {normalized_dtype(norm, x.dtype), x.channels});
  if (x.size() == 0) return y;
  run.parallel().count(8 * x.size());
  const FrameRows rows = rows_along(x.channels, axes);
  const int64_t length = rows.length;
  const bool fused = y.dtype == DType::kFloat32;
  if (x.dtype == DType::kComplex64) {
    for_rows(run, x, rows, x.as<const complex64>(), y.as<complex64>(),
             [&](const complex64* in, int64_t count, complex64* out) {
               for (int64_t at = 0; at < count * length; at += length) {
                 normalize_complex(norm, in + at, length, out + at);
               }
             });
  } else {
    const float* in = as_floats(run, x, DType::kFloat32);
    const float* scale = fused ? floats_of(run, parameters.scale) : nullptr;
    const float* bias = fused ? floats_of(run, parameters.bias) : nullptr;
    float* out = fused ? y.floats() : run.scratch<float>(y.size());
    const bool rounds = is_half(x.dtype) && !norm.in_float32;
    for_rows(run, x, rows, in, out, [&](const float* from, int64_t count, float* to) {
      if (!rounds) return normalize_floats(norm, from, count, length, scale, bias, to);
      for (int64_t at = 0; at < count * length; at += length) {
        normalize_rounded(norm, x.dtype, from + at, length, to + at);
      }
    });
    if (fused) return y;
    convert(out, DType::kFloat32, y.values, y.dtype, y.size());
  }
  const Shape shape = shape_of_axes(x.channels, axes);
  if (parameters.scale) {
    broadcast_in_place(run, Arithmetic::kMultiply, y, *parameters.scale, shape);
  }
  if (parameters.bias) broadcast_in_place(run, Arithmetic::kAdd, y, *parameters.bias, shape);
  return y;
}

const float* expand_parameter(Run& run, const std::optional<BroadcastOperand>& parameter,
                              const Shape& shape, const Shape& channels, float fallback) {
  float* out = run.scratch<float>(channels.size());
  if (parameter) {
    gather(broadcast_view(shape, channels), parameter->values(run, DType::kFloat32), sizeof(float),
           reinterpret_cast<std::byte*>(out));
  } else {
    std::fill_n(out, channels.size(), fallback);
  }
  return out;
}

Sequence normalize_over_time(Run& run, const Sequence& x, DType dtype, const ChannelGroups& groups,
                             double epsilon, const NormParameters& parameters,
                             const Shape& parameter_shape) {
  const Sequence y = run.output_like(x, {dtype, x.channels});
  if (x.size() == 0) return y;
  run.parallel().count(8 * x.size());
  const float* in = as_floats(run, x, DType::kFloat32);
  float* out = dtype == DType::kFloat32 ? y.floats() : run.scratch<float>(y.size());
  const float* scale = expand_parameter(run, parameters.scale, parameter_shape, x.channels, 1.0f);
  const float* bias = expand_parameter(run, parameters.bias, parameter_shape, x.channels, 0.0f);
  const OverTime over_time(run, x, groups);
  auto* scratch = run.scratch<TimeScratch>(x.batch);
  for (int64_t b = 0; b < x.batch; ++b) scratch[b] = over_time.scratch(run);
  run.parallel().each(x.batch, [&](int64_t b) {
    const int64_t at = b * x.time * x.frame_size();
    over_time.normalize(b, in + at, epsilon, scale, bias, scratch[b], out + at);
  });
  if (dtype != DType::kFloat32) convert(out, DType::kFloat32, y.values, dtype, y.size());
  return y;
}

Sequence shift_and_scale(Run& run, const Sequence& x, int axis, const AxisAffine& affine) {
  const Sequence y = run.output_like(x, x.spec());
  if (x.size() == 0) return y;
  run.parallel().count(3 * x.size());
  const bool is_complex = x.dtype == DType::kComplex64;
  const int64_t parts = is_complex ? 2 : 1, frame = x.frame_size() * parts;
  const int64_t times = repetitions(frame, x.steps());
  const auto expand = [&](const std::vector<float>& values, bool imaginary) {
    return expand_axis(run, values, x.channels, axis, parts, imaginary, times);
  };
  const FrameAffine frames{expand(affine.shift, false), expand(affine.scale, true),
                           expand(affine.bias, false), frame * times};
  const int64_t count = x.size() * parts;
  for_steps(run, ceil_div(count, frames.size), frames.size, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * frames.size, n = std::min(end * frames.size, count) - first;
    if (is_half(x.dtype)) {
      const size_t at = static_cast<size_t>(first) * size_of(x.dtype);
      frames.apply(x.dtype, x.values + at, n, y.values + at);
    } else {
      frames.apply(x.floats() + first, n, y.floats() + first);
    }
  });
  return y;
}

}  // namespace sl::ops
