#include "layers/convolution/conv_output.h"

#include <algorithm>

#include "kernels/normalize.h"
#include "ops/rows.h"

namespace sl {
namespace {

// The number of floats that a thread scales and activates at a time.
constexpr int64_t kChunk = 1 << 14;
// Minimum floats of a kernel call that scales rows.
constexpr size_t kAffineFloats = 64;

}  // namespace

void ConvOutput::check(const ChannelSpec& input, size_t rank, int64_t channels,
                       bool takes_complex) const {
  if (static_cast<size_t>(input.shape.rank()) != rank || input.shape.back() != channels) {
    constexpr const char* kForms[] = {"[", "[width, ", "[height, width, "};
    fail(Code::kShape, "its kernel expects input of {}{}] per step, got {}", kForms[rank - 1],
         channels, to_string(input.shape));
  }
  const bool is_complex = dtype(input.dtype) == DType::kComplex64;
  if ((is_complex || input.dtype == DType::kComplex64) && !takes_complex) {
    fail(Code::kUnsupported, "convolution of {} is not supported", name_of(input.dtype));
  }
  if (!activation_ || activation_is_taken_) return;
  if (!activation_->is_elementwise()) row_axes(activation_->axes, input.shape.rank());
  if (is_complex && !ops::takes_complex(*activation_)) {
    fail(Code::kShape, "the activation takes no complex numbers");
  }
}

const std::vector<float>& ConvOutput::transform_bias(const ops::AxisAffine& affine) {
  std::vector<float>& bias = bias_.real;
  bias.resize(affine.shift.size());
  for (size_t i = 0; i < bias.size(); ++i) {
    bias[i] = (bias[i] - affine.shift[i]) * affine.scale[i] + affine.bias[i];
  }
  return bias;
}

bool ConvOutput::transform_by(const ops::AxisAffine& affine) {
  if (affine_) return false;
  affine_ = affine;
  const size_t filters = affine.scale.size();
  for (std::vector<float>* values : {&affine_->shift, &affine_->scale, &affine_->bias}) {
    while (values->size() < kAffineFloats) {
      for (size_t i = 0; i < filters; ++i) values->push_back((*values)[i]);
    }
  }
  return true;
}

void ConvOutput::finish(Run& run, const Sequence& y) const {
  const bool activates = activates_rows(y);
  if ((!affine_ && !activates) || y.size() == 0) return;
  const int64_t filters = y.channels.back(), rows = y.size() / filters;
  const int64_t chunk = ceil_div(kChunk, filters);
  run.parallel().each(ceil_div(rows, chunk), [&](int64_t task) {
    const int64_t begin = task * chunk, count = std::min(chunk, rows - begin);
    float* const out = y.floats() + begin * filters;
    if (affine_) {
      const auto period = std::ssize(affine_->scale);
      for (int64_t i = 0; i < count * filters; i += period) {
        kernels::shift_and_scale(out + i, affine_->shift.data(), affine_->scale.data(),
                                 affine_->bias.data(), std::min(period, count * filters - i),
                                 out + i);
      }
    }
    if (activates) ops::activate_rows(out, count, filters, *activation_, y.dtype);
  });
}

void ConvOutput::activate_across(Run& run, const Sequence& y) const {
  if (activation_ && !activates_rows(y)) ops::activate_along(run, y, *activation_);
}

// Rounds the result of each operation as a computation in the dtype of y does.
void ConvOutput::round(float* rows, const Sequence& y) const {
  ops::round_to(y.dtype, rows, y.size());
  if (y.size() == 0) return;
  if (!bias_.real.empty()) {
    const auto filters = static_cast<int64_t>(bias_.real.size());
    for (int64_t i = 0; i < y.size(); i += filters) {
      for (int64_t f = 0; f < filters; ++f) rows[i + f] += bias_.real[static_cast<size_t>(f)];
    }
    ops::round_to(y.dtype, rows, y.size());
  }
  const int64_t row = y.channels.back();
  if (activates_rows(y)) ops::activate_rows(rows, y.size() / row, row, *activation_, y.dtype);
  ops::convert(rows, DType::kFloat32, y.values, y.dtype, y.size());
}

void ConvOutput::finish_complex(const float* real, const float* imaginary,
                                const Sequence& y) const {
  const int64_t filters = y.channels.back();
  const bool activates = activates_rows(y);
  for (int64_t i = 0; i < y.size(); i += filters) {
    auto* row = y.as<complex64>() + i;
    for (int64_t f = 0; f < filters; ++f) {
      const auto at = static_cast<size_t>(f);
      const complex64 bias(bias_.real.empty() ? 0 : bias_.real[at],
                           bias_.imaginary.empty() ? 0 : bias_.imaginary[at]);
      row[f] = complex64(real[i + f], imaginary[i + f]) + bias;
      if (affine_) row[f] = (row[f] - affine_->shift[at]) * affine_->scale[at] + affine_->bias[at];
    }
    if (activates) ops::activate(row, filters, *activation_);
  }
}

}  // namespace sl
