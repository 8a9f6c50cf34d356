// Scalar references of pointwise.h, in double.
#include <cmath>
#include <limits>

#include "kernels/pointwise.h"

namespace sl::kernels::reference {
namespace {

double clamp(double x, double low, double high) {
  if (x < low) return low;
  return x > high ? high : x;  // NaN falls through
}

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

double softplus(double x) { return (x < 0.0 ? 0.0 : x) + std::log1p(std::exp(-std::abs(x))); }

double elu(double x, double alpha) { return x > 0.0 ? x : alpha * std::expm1(x); }

double gelu_tanh(double x) {
  // Computes 1 + tanh(u) as 2 sigmoid(2u), which does not cancel for u < 0.
  return x * sigmoid(1.5957691216057307 * (x + 0.044715 * x * x * x));
}

double squareplus(double x, double b) {
  if (std::isinf(x)) return x > 0.0 ? x : std::numeric_limits<double>::quiet_NaN();
  const double root = std::sqrt(x * x + b);
  return x < 0.0 ? b / 2.0 / (root - x) : (x + root) / 2.0;
}

double sparse_plus(double x) {
  if (x <= -1.0) return 0.0;
  return x >= 1.0 ? x : (x + 1.0) * (x + 1.0) / 4.0;
}

double log1mexp(double x) {
  return x < 0.69314718055994530942 ? std::log(-std::expm1(-x)) : std::log1p(-std::exp(-x));
}

float binary_value(Binary op, float a, float b) {
  switch (op) {
    case Binary::kAdd:
      return a + b;
    case Binary::kSubtract:
      return a - b;
    case Binary::kMultiply:
      return a * b;
    case Binary::kDivide:
      return a / b;
    case Binary::kMaximum:
      if (std::isnan(a)) return a;
      return a > b || (a == b && std::signbit(b)) ? a : b;
    case Binary::kMinimum:
      if (std::isnan(a)) return a;
      return a < b || (a == b && std::signbit(a)) ? a : b;
  }
  return 0.0f;
}

}  // namespace

double unary_value(Unary op, double x, double a) {
  switch (op) {
    case Unary::kIdentity:
      return x;
    case Unary::kAbs:
      return std::abs(x);
    case Unary::kExp:
      return std::exp(x);
    case Unary::kLog:
      return std::log(x);
    case Unary::kTanh:
      return std::tanh(x);
    case Unary::kSigmoid:
      return sigmoid(x);
    case Unary::kRelu:
      return x <= 0.0 ? 0.0 : x;
    case Unary::kRelu6:
      return clamp(x, 0.0, 6.0);
    case Unary::kLeakyRelu:
      return x >= 0.0 ? x : a * x;
    case Unary::kElu:
      return elu(x, a);
    case Unary::kSelu:
      return 1.0507009873554804934 * elu(x, 1.6732632423543772848);
    case Unary::kCelu:
      return x > 0.0 ? x : a * std::expm1(x / a);
    case Unary::kGeluTanh:
      return gelu_tanh(x);
    case Unary::kGeluErf:
      return 0.5 * x * std::erfc(-x * 0.70710678118654752440);
    case Unary::kSwish:
      return x * sigmoid(x);
    case Unary::kSoftplus:
      return softplus(x);
    case Unary::kSoftSign:
      return x / (1.0 + std::abs(x));
    case Unary::kLogSigmoid:
      return -softplus(-x);
    case Unary::kHardTanh:
      return clamp(x, -1.0, 1.0);
    case Unary::kHardSigmoid:
      return clamp(x + 3.0, 0.0, 6.0) / 6.0;
    case Unary::kHardSwish:
      return x * clamp(x + 3.0, 0.0, 6.0) / 6.0;
    case Unary::kSquare:
      return x * x;
    case Unary::kSqrt:
      return std::sqrt(x);
    case Unary::kSin:
      return std::sin(x);
    case Unary::kCos:
      return std::cos(x);
    case Unary::kPower:
      return std::pow(x, a);
    case Unary::kMish:
      return x * std::tanh(softplus(x));
    case Unary::kSquareplus:
      return squareplus(x, a);
    case Unary::kSquaredRelu:
      return x <= 0.0 ? 0.0 : x * x;
    case Unary::kSparsePlus:
      return sparse_plus(x);
    case Unary::kSparseSigmoid:
      return 0.5 * clamp(x + 1.0, 0.0, 2.0);
    case Unary::kLog1mExp:
      return log1mexp(x);
  }
  return 0.0;
}

void unary(Unary op, const float* x, float* y, int64_t n, float a) {
  for (int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<float>(unary_value(op, x[i], static_cast<double>(a)));
  }
}

void binary(Binary op, const float* a, const float* b, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = binary_value(op, a[i], b[i]);
}

void binary_scalar(Binary op, const float* a, float b, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = binary_value(op, a[i], b);
}

void axpy(float a, const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += a * x[i];
}

}  // namespace sl::kernels::reference
