#include "kernels/gru.h"

#include <cmath>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gru.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_gates_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

// Contributions of the input or of the state to the three gates of one vector of units.
struct Gates {
  VF r;
  VF z;
  VF n;
};

HWY_INLINE VF next_h(const Gates& z, const Gates& u, VF h) {
  const VF keep = gate_sigmoid(hn::Add(z.z, u.z));
  const VF n = gate_tanh(hn::MulAdd(gate_sigmoid(hn::Add(z.r, u.r)), u.n, z.n));
  return hn::MulAdd(keep, h, hn::NegMulAdd(keep, n, n));
}

}  // namespace

void gru_cell_all(const float* z, const float* u, int64_t stride, const float* h, float* next,
                  int64_t units) {
  const DF d;
  int64_t j = 0;
  const auto whole = [&](const float* from) HWY_ATTR {
    return Gates{hn::LoadU(d, from + j), hn::LoadU(d, from + stride + j),
                 hn::LoadU(d, from + 2 * stride + j)};
  };
  for (; j + kFloatLanes <= units; j += kFloatLanes)
    hn::StoreU(next_h(whole(z), whole(u), hn::LoadU(d, h + j)), d, next + j);
  if (j == units) return;
  const int64_t rest = units - j;
  const auto some = [&](const float* from) HWY_ATTR {
    return Gates{load_some(from + j, rest), load_some(from + stride + j, rest),
                 load_some(from + 2 * stride + j, rest)};
  };
  store_some(next_h(some(z), some(u), load_some(h + j, rest)), next + j, rest);
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(gru_cell_all);

void gru_cell(const float* z, const float* u, int64_t stride, const float* h, float* next,
              int64_t units) {
  if (units > 0) HWY_DYNAMIC_DISPATCH(gru_cell_all)(z, u, stride, h, next, units);
}

namespace reference {

namespace {

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

}  // namespace

void gru_cell(const float* z, const float* u, int64_t stride, const float* h, float* next,
              int64_t units) {
  for (int64_t j = 0; j < units; ++j) {
    const double r = sigmoid(static_cast<double>(z[j]) + u[j]);
    const double keep = sigmoid(static_cast<double>(z[stride + j]) + u[stride + j]);
    const double n = std::tanh(z[2 * stride + j] + r * u[2 * stride + j]);
    next[j] = static_cast<float>((1 - keep) * n + keep * h[j]);
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
