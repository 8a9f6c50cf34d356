#include "kernels/lstm.h"

#include <cmath>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/lstm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_gates_inl.h"

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

}  // namespace

void lstm_cell_all(const float* z, int64_t stride, float* c, float* h, int64_t units) {
  const DF d;
  int64_t j = 0;
  for (; j + kFloatLanes <= units; j += kFloatLanes) {
    const Gates gates{hn::LoadU(d, z + j), hn::LoadU(d, z + stride + j),
                      hn::LoadU(d, z + 2 * stride + j), hn::LoadU(d, z + 3 * stride + j)};
    const VF next = next_c(gates, hn::LoadU(d, c + j));
    hn::StoreU(next, d, c + j);
    hn::StoreU(next_h(gates, next), d, h + j);
  }
  if (j == units) return;
  const int64_t rest = units - j;
  const Gates gates{load_some(z + j, rest), load_some(z + stride + j, rest),
                    load_some(z + 2 * stride + j, rest), load_some(z + 3 * stride + j, rest)};
  const VF next = next_c(gates, load_some(c + j, rest));
  store_some(next, c + j, rest);
  store_some(next_h(gates, next), h + j, rest);
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(lstm_cell_all);

void lstm_cell(const float* z, int64_t stride, float* c, float* h, int64_t units) {
  if (units > 0) HWY_DYNAMIC_DISPATCH(lstm_cell_all)(z, stride, c, h, units);
}

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
