#include "kernels/bands.h"

#include <algorithm>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/bands.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// A vector holds kGroup inputs of one column; targets without vectors use the reference.
using D = hn::CappedTag<float, Bands::kGroup>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));

HWY_INLINE void multiply_group(const float* x, const Bands::Group& group, const float* weights,
                               float* y) {
  const D d;
  static_assert(Bands::kGroup == 4);
  auto a = hn::Zero(d), b = a, c = a, e = a;
  for (int64_t i = 0; i < Bands::kGroup * group.blocks; i += kLanes, weights += 4 * kLanes) {
    a = hn::MulAdd(hn::LoadU(d, x + group.first[0] + i), hn::LoadU(d, weights), a);
    b = hn::MulAdd(hn::LoadU(d, x + group.first[1] + i), hn::LoadU(d, weights + kLanes), b);
    c = hn::MulAdd(hn::LoadU(d, x + group.first[2] + i), hn::LoadU(d, weights + 2 * kLanes), c);
    e = hn::MulAdd(hn::LoadU(d, x + group.first[3] + i), hn::LoadU(d, weights + 3 * kLanes), e);
  }
  // Transposes the four vectors, so that sums across lanes become sums of vectors.
  HWY_ALIGN float sums[4 * Bands::kGroup];
  hn::Store(a, d, sums);
  hn::Store(b, d, sums + Bands::kGroup);
  hn::Store(c, d, sums + 2 * Bands::kGroup);
  hn::Store(e, d, sums + 3 * Bands::kGroup);
  hn::LoadInterleaved4(d, sums, a, b, c, e);
  hn::StoreU(hn::Add(hn::Add(a, b), hn::Add(c, e)), d, y);
}

}  // namespace

void multiply_rows(const float* x, const Bands& bands, int64_t rows, float* y) {
  if (kLanes < Bands::kGroup) {
    reference::multiply_bands(x, bands, rows, y);
    return;
  }
  for (int64_t row = 0; row < rows; ++row, x += bands.inputs, y += bands.outputs) {
    int64_t at = 0;
    for (const Bands::Group& group : bands.groups) {
      if (at + Bands::kGroup <= bands.outputs) {
        multiply_group(x, group, bands.weights.data() + group.weights, y + at);
      } else {
        float last[Bands::kGroup];
        multiply_group(x, group, bands.weights.data() + group.weights, last);
        std::copy_n(last, bands.outputs - at, y + at);
      }
      at += Bands::kGroup;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(multiply_rows);

Bands make_bands(const float* matrix, int64_t inputs, int64_t outputs) {
  constexpr int64_t kGroup = Bands::kGroup;
  Bands out;
  out.inputs = inputs;
  out.outputs = outputs;
  const auto value = [&](int64_t i, int64_t column) {
    return i < inputs && column < outputs ? matrix[i * outputs + column] : 0.0f;
  };
  for (int64_t at = 0; at < outputs; at += kGroup) {
    Bands::Group group{{}, 0, static_cast<int64_t>(out.weights.size())};
    int64_t longest = 0;
    std::array<int64_t, kGroup> first{}, end{};
    for (int64_t c = 0; c < kGroup; ++c) {
      const auto k = static_cast<size_t>(c);
      while (first[k] < inputs && value(first[k], at + c) == 0) ++first[k];
      end[k] = inputs;
      while (end[k] > first[k] && value(end[k] - 1, at + c) == 0) --end[k];
      longest = std::max(longest, end[k] - first[k]);
    }
    group.blocks = (longest + kGroup - 1) / kGroup;
    out.within_row = out.within_row && kGroup * group.blocks <= inputs;
    for (size_t k = 0; k < kGroup; ++k) {
      // A widened band is moved back so that it ends within the row, if the row is long enough.
      group.first[k] = std::max<int64_t>(0, std::min(first[k], inputs - kGroup * group.blocks));
    }
    for (int64_t block = 0; block < group.blocks; ++block) {
      for (int64_t c = 0; c < kGroup; ++c) {
        for (int64_t i = 0; i < kGroup; ++i) {
          const int64_t input = group.first[static_cast<size_t>(c)] + block * kGroup + i;
          out.weights.push_back(value(input, at + c));
        }
      }
    }
    out.groups.push_back(group);
  }
  return out;
}

void multiply_bands(const float* x, const Bands& bands, int64_t rows, float* y) {
  if (bands.within_row) {
    HWY_DYNAMIC_DISPATCH(multiply_rows)(x, bands, rows, y);
  } else {
    reference::multiply_bands(x, bands, rows, y);
  }
}

namespace reference {

void multiply_bands(const float* x, const Bands& bands, int64_t rows, float* y) {
  constexpr int64_t kGroup = Bands::kGroup;
  for (int64_t row = 0; row < rows; ++row, x += bands.inputs, y += bands.outputs) {
    for (int64_t column = 0; column < bands.outputs; ++column) {
      const Bands::Group& group = bands.groups[static_cast<size_t>(column / kGroup)];
      const int64_t c = column % kGroup, first = group.first[static_cast<size_t>(c)];
      double sum = 0;
      for (int64_t i = 0; i < kGroup * group.blocks && first + i < bands.inputs; ++i) {
        const int64_t at = group.weights + (i / kGroup * kGroup + c) * kGroup + i % kGroup;
        sum += static_cast<double>(x[first + i]) *
               static_cast<double>(bands.weights[static_cast<size_t>(at)]);
      }
      y[column] = static_cast<float>(sum);
    }
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
