#include "kernels/gru.h"

#include <cmath>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gru.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_gates_inl.h"
#include "kernels/simd_recurrent_inl.h"

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

// Vectors of a gate that are computed at once. With vectors of a whole panel there are registers
// for two panels.
constexpr int kGruVectors = kFloatLanes == kPanel ? 2 : kGateVectors;

// The products of input and state are independent sums. A single panel's are added together, which
// hides the latency of adding as two panels do. Backwards, what was read last comes first here too.
template <bool kPrefetch, int kVectors>
HWY_INLINE void add_products(const RecurrentStep& s, int64_t unit, GateSums<3, kVectors>& z,
                             GateSums<3, kVectors>& u) {
  const int64_t inputs = s.x ? s.inputs : 0;
  const GatePanels of_x = gate_panels(s.input_weights, inputs, s.units, unit);
  const GatePanels of_h = gate_panels(s.recurrent_weights, s.units, s.units, unit);
  if constexpr (kVectors > kGateVectors) {
    if (s.backwards) add_gate_rows<kPrefetch>(s.h, s.units, of_h, u);
    add_gate_rows<kPrefetch>(s.x, inputs, of_x, z);
    if (!s.backwards) add_gate_rows<kPrefetch>(s.h, s.units, of_h, u);
    return;
  }
  int64_t p = 0;
  for (; p < HWY_MIN(inputs, s.units); ++p) {
    add_gate_row<kPrefetch>(s.x, p, of_x, z);
    add_gate_row<kPrefetch>(s.h, p, of_h, u);
  }
  for (int64_t i = p; i < inputs; ++i) add_gate_row<kPrefetch>(s.x, i, of_x, z);
  for (; p < s.units; ++p) add_gate_row<kPrefetch>(s.h, p, of_h, u);
}

template <bool kPrefetch>
HWY_INLINE void step_units(const RecurrentStep& s) {
  const DF d;
  for_gate_units<kGruVectors>(s, [&](auto vectors, int64_t unit) HWY_ATTR {
    constexpr int kVectors = decltype(vectors)::kSize;
    auto z = gate_start<3, kVectors>(s.x ? s.input_bias : s.z, s.units, unit);
    auto u = gate_start<3, kVectors>(s.recurrent_bias, s.units, unit);
    add_products<kPrefetch>(s, unit, z, u);
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = unit + v * kFloatLanes;
      const VF next = next_h(Gates{z.v[0][v], z.v[1][v], z.v[2][v]},
                             Gates{u.v[0][v], u.v[1][v], u.v[2][v]}, hn::LoadU(d, s.h + at));
      hn::StoreU(next, d, s.next_h + at);
    }
  });
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

void gru_step_all(const RecurrentStep& s) {
  if (gates_fill_groups(3, s.units)) {
    has_large_weights(s, 3) ? step_units<true>(s) : step_units<false>(s);
    return;
  }
  const int64_t n = 3 * s.units;
  project_input(s, 3);
  gemm_all({s.h, s.units, s.recurrent_weights, s.units, n, s.recurrent_bias, false, s.u, n}, 1);
  gru_cell_all(s.z, s.u, s.units, s.h, s.next_h, s.units);
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(gru_cell_all);
HWY_EXPORT(gru_step_all);

void gru_cell(const float* z, const float* u, int64_t stride, const float* h, float* next,
              int64_t units) {
  if (units > 0) HWY_DYNAMIC_DISPATCH(gru_cell_all)(z, u, stride, h, next, units);
}

void gru_step(const RecurrentStep& step) { gru_step_function()(step); }

RecurrentStepFunction gru_step_function() { return HWY_DYNAMIC_DISPATCH(gru_step_all); }

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
