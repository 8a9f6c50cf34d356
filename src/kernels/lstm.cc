#include "kernels/lstm.h"

#include <cmath>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/lstm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_gates_inl.h"
#include "kernels/simd_recurrent_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

// The four pre-activations of one vector of units.
struct Gates {
  VF i;
  VF f;
  VF g;
  VF o;
};

HWY_INLINE VF next_c(const Gates& z, VF c) {
  return hn::MulAdd(gate_sigmoid(z.f), c, hn::Mul(gate_sigmoid(z.i), gate_tanh(z.g)));
}

HWY_INLINE VF next_h(const Gates& z, VF c) { return hn::Mul(gate_sigmoid(z.o), gate_tanh(c)); }

// Computes c and h of one vector of units.
HWY_INLINE void advance(const Gates& z, float* c, float* h) {
  const DF d;
  const VF next = next_c(z, hn::LoadU(d, c));
  hn::StoreU(next, d, c);
  hn::StoreU(next_h(z, next), d, h);
}

template <bool kPrefetch>
HWY_INLINE void step_units(const RecurrentStep& s) {
  for_gate_units<kGateVectors>(s, [&](auto, int64_t unit) HWY_ATTR {
    auto z = gate_start<4, kGateVectors>(s.x ? s.input_bias : s.z, s.units, unit);
    if (s.x) {
      const GatePanels panels = gate_panels(s.input_weights, s.inputs, s.units, unit);
      add_gate_rows<kPrefetch>(s.x, s.inputs, panels, z);
    }
    const GatePanels panels = gate_panels(s.recurrent_weights, s.units, s.units, unit);
    add_gate_rows<kPrefetch>(s.h, s.units, panels, z);
#pragma GCC unroll 2
    for (int v = 0; v < kGateVectors; ++v) {
      const int64_t at = unit + v * kFloatLanes;
      advance(Gates{z.v[0][v], z.v[1][v], z.v[2][v], z.v[3][v]}, s.c + at, s.next_h + at);
    }
  });
}

}  // namespace

void lstm_cell_all(const float* z, int64_t stride, float* c, float* h, int64_t units) {
  const DF d;
  int64_t j = 0;
  for (; j + kFloatLanes <= units; j += kFloatLanes) {
    const Gates gates{hn::LoadU(d, z + j), hn::LoadU(d, z + stride + j),
                      hn::LoadU(d, z + 2 * stride + j), hn::LoadU(d, z + 3 * stride + j)};
    advance(gates, c + j, h + j);
  }
  if (j == units) return;
  const int64_t rest = units - j;
  const Gates gates{load_some(z + j, rest), load_some(z + stride + j, rest),
                    load_some(z + 2 * stride + j, rest), load_some(z + 3 * stride + j, rest)};
  const VF next = next_c(gates, load_some(c + j, rest));
  store_some(next, c + j, rest);
  store_some(next_h(gates, next), h + j, rest);
}

void lstm_step_all(const RecurrentStep& s) {
  if (gates_fill_groups(4, s.units)) {
    has_large_weights(s, 4) ? step_units<true>(s) : step_units<false>(s);
    return;
  }
  const int64_t n = 4 * s.units;
  project_input(s, 4);
  gemm_all({s.h, s.units, s.recurrent_weights, s.units, n, nullptr, true, s.z, n}, 1);
  lstm_cell_all(s.z, s.units, s.c, s.next_h, s.units);
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(lstm_cell_all);
HWY_EXPORT(lstm_step_all);

void lstm_cell(const float* z, int64_t stride, float* c, float* h, int64_t units) {
  if (units > 0) HWY_DYNAMIC_DISPATCH(lstm_cell_all)(z, stride, c, h, units);
}

void lstm_step(const RecurrentStep& step) { lstm_step_function()(step); }

RecurrentStepFunction lstm_step_function() { return HWY_DYNAMIC_DISPATCH(lstm_step_all); }

namespace reference {

namespace {

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

}  // namespace

void lstm_cell(const float* z, int64_t stride, float* c, float* h, int64_t units) {
  for (int64_t j = 0; j < units; ++j) {
    const double i = sigmoid(z[j]);
    const double f = sigmoid(z[stride + j]);
    const double g = std::tanh(static_cast<double>(z[2 * stride + j]));
    const double o = sigmoid(z[3 * stride + j]);
    const double next = f * c[j] + i * g;
    c[j] = static_cast<float>(next);
    h[j] = static_cast<float>(o * std::tanh(next));
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
