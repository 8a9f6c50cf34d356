#include "layers/convolution/conv_output.h"

#include <algorithm>

#include "ops/elementwise.h"

namespace sl {
namespace {

// What one thread activates at a time, in floats.
constexpr int64_t kChunk = 1 << 14;

}  // namespace

void ConvOutput::check(const Layer& layer, const ChannelSpec& input, size_t rank,
                       int64_t channels) const {
  if (static_cast<size_t>(input.shape.rank()) != rank || input.shape.back() != channels) {
    constexpr const char* kForms[] = {"[", "[width, ", "[height, width, "};
    fail(Code::kShape, "{} \"{}\": its kernel expects input of {}{}] per step, got {}",
         layer.type(), layer.name(), kForms[rank - 1], channels, to_string(input.shape));
  }
  if (input.dtype == DType::kComplex64 || !is_float(dtype(input.dtype))) {
    fail(Code::kUnsupported, "{} \"{}\": convolution of {} is not supported", layer.type(),
         layer.name(), name_of(input.dtype));
  }
}

void ConvOutput::activate(Run& run, const Sequence& y) const {
  if (!activation_) return;
  const int64_t size = y.size();
  run.parallel().each(ceil_div(size, kChunk), [&](int64_t i) {
    const int64_t begin = i * kChunk;
    ops::activate(y.floats() + begin, std::min(kChunk, size - begin), *activation_, y.dtype);
  });
}

// Each operation rounds its result.
void ConvOutput::round(float* rows, const Sequence& y) const {
  ops::round_to(y.dtype, rows, y.size());
  if (!bias_.empty()) {
    const auto filters = static_cast<int64_t>(bias_.size());
    for (int64_t i = 0; i < y.size(); i += filters) {
      for (int64_t f = 0; f < filters; ++f) rows[i + f] += bias_[static_cast<size_t>(f)];
    }
    ops::round_to(y.dtype, rows, y.size());
  }
  if (activation_) ops::activate(rows, y.size(), *activation_, y.dtype);
  ops::convert(rows, DType::kFloat32, y.values, y.dtype, y.size());
}

}  // namespace sl
