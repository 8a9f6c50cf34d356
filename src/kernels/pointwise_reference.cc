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

double relu(double x) { return x <= 0.0 ? 0.0 : x; }

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

double hard_sigmoid(double x) { return clamp(x + 3.0, 0.0, 6.0) / 6.0; }

double sparse_plus(double x) {
  if (x <= -1.0) return 0.0;
  return x >= 1.0 ? x : (x + 1.0) * (x + 1.0) / 4.0;
}

double log1mexp(double x) {
  return x < 0.69314718055994530942 ? std::log(-std::expm1(-x)) : std::log1p(-std::exp(-x));
}

float maximum(float a, float b) {
  if (std::isnan(a)) return a;
  return a > b || (a == b && std::signbit(b)) ? a : b;
}

float minimum(float a, float b) {
  if (std::isnan(a)) return a;
  return a < b || (a == b && std::signbit(a)) ? a : b;
}

float binary_value(Binary op, float a, float b) {
  switch (op) {
#define SL_BINARY(Name, vector, scalar) \
  case Binary::k##Name:                 \
    return scalar;
#include "kernels/binary_functions.inc"
  }
  return 0.0f;
}

}  // namespace

double unary_value(Unary op, double x, double a) {
  switch (op) {
#define SL_UNARY(Name, function, layer, parameter, vector, wide, complex) \
  case Unary::k##Name:                                                    \
    return wide;
#include "kernels/unary_functions.inc"
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
