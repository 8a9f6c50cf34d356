#include "layers/convolution/kernel.h"

#include <cmath>
#include <complex>
#include <functional>
#include <utility>

#include "ops/elementwise.h"

namespace sl {
namespace {

double inverse_norm(double sum_of_squares, double epsilon) {
  return 1 / std::sqrt(sum_of_squares + epsilon);
}

// kernel = kernel * scale / |kernel|, with one norm for each filter. Every operation rounds to
// `dtype`.
void normalize_filters(std::vector<float>& kernel, const std::vector<float>& scale, double epsilon,
                       DType dtype) {
  const auto round = [dtype](std::vector<float>& v) {
    ops::round_to(dtype, v.data(), static_cast<int64_t>(v.size()));
  };
  std::vector<float> squares = kernel;
  for (float& k : squares) k *= k;
  round(squares);
  const size_t filters = scale.size();
  std::vector<double> sums(filters);
  for (size_t i = 0; i < kernel.size(); ++i) sums[i % filters] += squares[i];
  std::vector<float> factors(sums.begin(), sums.end());
  round(factors);
  for (float& f : factors) f = static_cast<float>(inverse_norm(f, epsilon));
  round(factors);
  for (size_t i = 0; i < kernel.size(); ++i) kernel[i] *= factors[i % filters];
  round(kernel);
  for (size_t i = 0; i < kernel.size(); ++i) kernel[i] *= scale[i % filters];
  round(kernel);
}

// Normalizes complex filters. As in the reference, the norm sums the complex squares, not the
// squared magnitudes.
void normalize_filters(TensorParts& kernel, const TensorParts& scale, double epsilon) {
  using Wide = std::complex<double>;
  const size_t filters = scale.real.size();
  std::vector<Wide> factors(filters, epsilon);
  for (size_t i = 0; i < kernel.real.size(); ++i) {
    const Wide k(kernel.real[i], kernel.imaginary[i]);
    factors[i % filters] += k * k;
  }
  for (size_t f = 0; f < filters; ++f) {
    factors[f] = Wide(scale.real[f], scale.imaginary.empty() ? 0 : scale.imaginary[f]) /
                 std::sqrt(factors[f]);
  }
  for (size_t i = 0; i < kernel.real.size(); ++i) {
    const Wide k = Wide(kernel.real[i], kernel.imaginary[i]) * factors[i % filters];
    kernel.real[i] = static_cast<float>(k.real());
    kernel.imaginary[i] = static_cast<float>(k.imag());
  }
}

void normalize(std::vector<double>& v, double epsilon) {
  double sum = 0;
  for (double a : v) sum += a * a;
  const double factor = inverse_norm(sum, epsilon);
  for (double& a : v) a *= factor;
}

// kernel = kernel / sigma, where sigma is the largest singular value of the kernel as a matrix
// [inputs, filters], found by power iteration from u0.
void normalize_spectrum(std::vector<float>& kernel, const std::vector<float>& u0,
                        const KernelConstraint& constraint) {
  const size_t filters = u0.size(), inputs = kernel.size() / filters;
  std::vector<double> u(u0.begin(), u0.end()), v(inputs);
  double sigma = 0;
  for (int64_t iteration = 0; iteration < constraint.power_iterations; ++iteration) {
    for (size_t i = 0; i < inputs; ++i) {
      v[i] = 0;
      for (size_t f = 0; f < filters; ++f) v[i] += u[f] * kernel[i * filters + f];
    }
    normalize(v, constraint.epsilon);
    std::vector<double> next(filters);
    for (size_t i = 0; i < inputs; ++i) {
      for (size_t f = 0; f < filters; ++f) next[f] += v[i] * kernel[i * filters + f];
    }
    u = next;
    normalize(u, constraint.epsilon);
    sigma = 0;
    for (size_t f = 0; f < filters; ++f) sigma += next[f] * u[f];
  }
  if (sigma == 0) return;
  for (float& k : kernel) k = static_cast<float>(k / sigma);
}

using Normalization = std::function<void(TensorParts&)>;

// How the kernel is normalized; empty if it is not.
Normalization normalization(const KernelFields& fields, const WeightScope& weights,
                            const Tensor& kernel) {
  const int64_t filters = kernel.shape.back();
  const auto by_filter = [&](TensorParts scale, double epsilon) -> Normalization {
    return [scale = std::move(scale), epsilon, dtype = kernel.dtype](TensorParts& values) {
      if (dtype == DType::kComplex64) {
        normalize_filters(values, scale, epsilon);
      } else {
        normalize_filters(values.real, scale.real, epsilon, dtype);
      }
    };
  };
  if (fields.use_weight_norm)
    return by_filter(weights.parts("scale", {filters}, DType::kFloat32), 1e-12);
  if (!fields.constraint) return nullptr;
  const KernelConstraint& constraint = *fields.constraint;
  const WeightScope scope = weights.child(constraint.name);
  if (!constraint.spectral)
    return by_filter(scope.parts("scale", {filters}, constraint.param_dtype), constraint.epsilon);
  if (kernel.dtype == DType::kComplex64)
    fail(Code::kUnsupported, "spectral normalization takes no complex kernel");
  std::vector<float> u = scope.floats("u", {1, filters}, constraint.collection);
  scope.floats("sigma", {}, constraint.collection);  // a record of training, not used
  return [u = std::move(u), constraint](TensorParts& values) {
    normalize_spectrum(values.real, u, constraint);
  };
}

}  // namespace

KernelConstraint::KernelConstraint(Config& config) {
  if (config.type() != "L2WeightNormalization" && config.type() != "SpectralWeightNormalization") {
    config.error("type", "expected \"L2WeightNormalization\" or \"SpectralWeightNormalization\"");
  }
  spectral = config.type() == "SpectralWeightNormalization";
  epsilon = config.number("epsilon", 1e-12);
  if (config.raw("name")) name = config.string("name");
  if (name.empty()) name = "kernel_constraint";
  config.ignore({"name", "sharding", "reductions_in_at_least_fp32"});
  param_dtype = config.dtype("param_dtype", DType::kFloat32);
  if (spectral) {
    power_iterations = config.integer("n_power_iteration", 1, 1);
    collection = config.string("collection_name", "batch_stats");
    // The kernel of a convolution is never a matrix, so the option always fails.
    if (config.boolean("error_on_non_matrix", false)) {
      config.error("error_on_non_matrix", "kernels of convolutions have more than two dimensions");
    }
    config.ignore({"u_init"});
  } else {
    config.ignore({"scale_init"});
  }
  config.finish();
}

KernelFields::KernelFields(Config& config)
    : use_weight_norm(config.boolean("use_weight_norm", false)) {
  if (auto nested = config.nested("kernel_constraint")) constraint.emplace(*nested);
  if (use_weight_norm && constraint) {
    config.error("kernel_constraint", "cannot be combined with \"use_weight_norm\"");
  }
}

ops::KernelParts read_kernel(const KernelFields& fields, const WeightScope& weights,
                             const Shape& expected, DType param_dtype, DType dtype) {
  const bool is_complex = param_dtype == DType::kComplex64;
  const WeightSource source =
      weights.source("kernel", expected, is_complex ? DType::kComplex64 : DType::kFloat32);
  const Normalization normalize = normalization(fields, weights, source.tensor);
  ops::KernelParts out = weights.kernel(source);
  const auto values = [given = out, normalize, dtype] {
    TensorParts kernel{given.real.shape, given.real.values(), {}};
    if (given.imaginary) kernel.imaginary = given.imaginary->values();
    if (normalize) normalize(kernel);
    ops::round_to(dtype, kernel.real.data(), static_cast<int64_t>(kernel.real.size()));
    return kernel;
  };
  out.real.values = [values] { return values().real; };
  if (out.imaginary) out.imaginary->values = [values] { return values().imaginary; };
  return out;
}

}  // namespace sl
