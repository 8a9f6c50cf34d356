#include "ops/complex_functions.h"

#include <cmath>
#include <complex>
#include <numbers>
#include <type_traits>

namespace sl::ops {
namespace {

using kernels::Unary;
using Wide = std::complex<double>;

// Compares by real part, then by imaginary part.
bool before(const Wide& a, const Wide& b) {
  return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
}
Wide larger(const Wide& x, double bound) { return before(x, Wide(bound)) ? bound : x; }
Wide smaller(const Wide& x, double bound) { return before(Wide(bound), x) ? bound : x; }

// log(x) without std::log of a complex number, which may take a lock.
Wide complex_log(const Wide& x) { return {std::log(std::abs(x)), std::arg(x)}; }

Wide sigmoid(const Wide& x) { return 1.0 / (1.0 + std::exp(-x)); }

// log(1 + e^x), its imaginary part between -pi and pi.
Wide softplus(const Wide& x) {
  const Wide above = larger(x, 0);
  const Wide y = above + complex_log(1.0 + std::exp(x - 2.0 * above));
  return {y.real(), std::remainder(y.imag(), 2 * std::numbers::pi)};
}

Wide elu(const Wide& x, double alpha) {
  return before(Wide(), x) ? x : alpha * (std::exp(x) - 1.0);
}

Wide hard_sigmoid(const Wide& x) { return smaller(larger(x + 3.0, 0), 6) / 6.0; }

// Computes 1 + tanh(v) as 2 sigmoid(2 v).
Wide gelu_tanh(const Wide& x) {
  return x * sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x));
}

Wide sparse_plus(const Wide& x) {
  if (!before(Wide(-1), x)) return 0;
  return before(x, Wide(1)) ? (x + 1.0) * (x + 1.0) / 4.0 : x;
}

Wide log1mexp(const Wide& x) {
  return before(x, Wide(std::numbers::ln2)) ? complex_log(-(std::exp(-x) - 1.0))
                                            : complex_log(1.0 - std::exp(-x));
}

// x^a without std::pow of a complex number, which may take a lock.
Wide power(const Wide& x, double a) {
  if (x == Wide()) return std::pow(0.0, a);
  return std::polar(std::pow(std::abs(x), a), std::arg(x) * a);
}

// In the place of the value of a function that has none.
struct NoComplex {
  operator Wide() const { return {}; }
};
constexpr NoComplex no_complex() { return {}; }

// f(x), of the type NoComplex if there is no such value.
namespace forms {
#define SL_UNARY(Name, function, layer, parameter, vector, wide, complex)                   \
  auto Name([[maybe_unused]] const Wide& x, [[maybe_unused]] double a)->decltype(complex) { \
    return complex;                                                                         \
  }
#include "kernels/unary_functions.inc"
}  // namespace forms

Wide value(Unary op, const Wide& x, double a) {
  switch (op) {
#define SL_UNARY(Name, ...) \
  case Unary::k##Name:      \
    return forms::Name(x, a);
#include "kernels/unary_functions.inc"
  }
  return x;
}

}  // namespace

bool takes_complex(Unary op) {
  switch (op) {
#define SL_UNARY(Name, ...) \
  case Unary::k##Name:      \
    return !std::is_same_v<decltype(forms::Name(Wide(), 0)), NoComplex>;
#include "kernels/unary_functions.inc"
  }
  return false;
}

complex64 complex_unary(Unary op, complex64 x, float a) {
  return static_cast<complex64>(value(op, Wide(x), static_cast<double>(a)));
}

}  // namespace sl::ops
