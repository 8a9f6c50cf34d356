#include "ops/complex_functions.h"

#include <cmath>
#include <complex>
#include <numbers>

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

Wide value(Unary op, const Wide& x, double a) {
  switch (op) {
    case Unary::kExp:
      return std::exp(x);
    case Unary::kLog:
      return complex_log(x);
    case Unary::kTanh:
      return std::tanh(x);
    case Unary::kSigmoid:
      return sigmoid(x);
    case Unary::kRelu:
      return larger(x, 0);
    case Unary::kRelu6:
      return smaller(larger(x, 0), 6);
    case Unary::kLeakyRelu:
      return before(x, Wide()) ? a * x : x;
    case Unary::kElu:
      return elu(x, a);
    case Unary::kSelu:
      return 1.0507009873554804934 * elu(x, 1.6732632423543772848);
    case Unary::kCelu:
      return larger(x, 0) + a * (std::exp(smaller(x, 0) / a) - 1.0);
    case Unary::kGeluTanh:
      return gelu_tanh(x);
    case Unary::kSwish:
      return x * sigmoid(x);
    case Unary::kSoftplus:
      return softplus(x);
    case Unary::kSoftSign:
      return x / (1.0 + std::abs(x));
    case Unary::kLogSigmoid:
      return -softplus(-x);
    case Unary::kHardTanh:
      return before(Wide(1), x) ? 1 : before(x, Wide(-1)) ? -1 : x;
    case Unary::kHardSigmoid:
      return hard_sigmoid(x);
    case Unary::kHardSwish:
      return x * hard_sigmoid(x);
    case Unary::kSquare:
      return x * x;
    case Unary::kSqrt:
      return std::sqrt(x);
    case Unary::kSin:
      return std::sin(x);
    case Unary::kCos:
      return std::cos(x);
    case Unary::kPower:
      return power(x, a);
    case Unary::kMish:
      return x * std::tanh(softplus(x));
    case Unary::kSquareplus:
      return (x + std::sqrt(x * x + a)) / 2.0;
    case Unary::kSquaredRelu:
      return larger(x, 0) * larger(x, 0);
    case Unary::kSparsePlus:
      return sparse_plus(x);
    case Unary::kLog1mExp:
      return log1mexp(x);
    case Unary::kIdentity:
    case Unary::kAbs:
    case Unary::kGeluErf:
    case Unary::kSparseSigmoid:
      break;
  }
  return x;
}

}  // namespace

bool takes_complex(Unary op) { return op != Unary::kGeluErf && op != Unary::kSparseSigmoid; }

complex64 complex_unary(Unary op, complex64 x, float a) {
  return static_cast<complex64>(value(op, Wide(x), static_cast<double>(a)));
}

}  // namespace sl::ops
