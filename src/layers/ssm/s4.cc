// Structured state spaces (Gu, Goel, Ré 2022, S4): each channel has a system of its own with A =
// diag(Lambda) - p p^H, discretized by the bilinear rule. The discrete matrix is again a diagonal
// matrix plus one of rank one (Woodbury), so that a step takes O(state_size). `c` belongs to the
// kernel truncated at kernel_length; the recurrence continues beyond it.
#include "kernels/complex_matrix.h"
#include "layers/ssm/channel_bank.h"
#include "layers/ssm/state_space_layer.h"
#include "ops/long_convolution.h"
#include "ops/per_size.h"

namespace sl {
namespace {

// A square complex matrix with separate real and imaginary parts, whose products vectorize.
class Matrix {
 public:
  explicit Matrix(size_t n) : n_(n), re_(n * n), im_(n * n) {}

  size_t size() const { return n_; }
  complex128 at(size_t i, size_t j) const { return {re_[i * n_ + j], im_[i * n_ + j]}; }
  void set(size_t i, size_t j, complex128 value) {
    re_[i * n_ + j] = value.real();
    im_[i * n_ + j] = value.imag();
  }

  Matrix squared() const {
    Matrix out(n_);
    const kernels::ComplexMatrix self{re_.data(), im_.data()};
    kernels::multiply_matrices(self, self, static_cast<int64_t>(n_), out.re_.data(),
                               out.im_.data());
    return out;
  }

  // Adds factor times row k of `other` to row i, from column `from` on.
  void add_row(size_t i, complex128 factor, const Matrix& other, size_t k, size_t from) {
    double* to_re = re_.data() + i * n_;
    double* to_im = im_.data() + i * n_;
    const double* re = other.re_.data() + k * n_;
    const double* im = other.im_.data() + k * n_;
    for (size_t j = from; j < n_; ++j) {
      to_re[j] += factor.real() * re[j] - factor.imag() * im[j];
      to_im[j] += factor.real() * im[j] + factor.imag() * re[j];
    }
  }

  void swap_rows(size_t i, size_t k) {
    for (size_t j = 0; j < n_; ++j) {
      std::swap(re_[i * n_ + j], re_[k * n_ + j]);
      std::swap(im_[i * n_ + j], im_[k * n_ + j]);
    }
  }

 private:
  size_t n_;
  std::vector<double> re_, im_;
};

// The system x = (diag(a) + q r^T) x + b u.
struct LowRank {
  std::vector<complex128> a, q, r, b;
};

// The matrix diag(a) + q r^T.
Matrix dense(const LowRank& system) {
  Matrix out(system.a.size());
  for (size_t i = 0; i < out.size(); ++i) {
    for (size_t j = 0; j < out.size(); ++j) {
      out.set(i, j, system.q[i] * system.r[j] + (i == j ? system.a[i] : 0.0));
    }
  }
  return out;
}

// m = m (diag(a) + q r^T), in O(n^2).
void multiply(Matrix& m, const LowRank& system) {
  for (size_t i = 0; i < m.size(); ++i) {
    complex128 sum = 0;
    for (size_t j = 0; j < m.size(); ++j) sum += m.at(i, j) * system.q[j];
    for (size_t j = 0; j < m.size(); ++j) {
      m.set(i, j, m.at(i, j) * system.a[j] + sum * system.r[j]);
    }
  }
}

// (diag(a) + q r^T)^exponent by repeated squaring; only the squares take O(n^3).
Matrix power(const LowRank& system, int64_t exponent) {
  constexpr int64_t kCheapExponent = 16;
  int bits = 0;
  while (exponent >> bits > kCheapExponent) ++bits;
  Matrix out = dense(system);
  for (int64_t i = 1; i < exponent >> bits; ++i) multiply(out, system);
  while (bits-- > 0) {
    out = out.squared();
    if (exponent >> bits & 1) multiply(out, system);
  }
  return out;
}

// Solves m x = b by elimination with pivots.
std::vector<complex128> solve(Matrix m, std::vector<complex128> b) {
  const size_t n = m.size();
  for (size_t k = 0; k < n; ++k) {
    size_t pivot = k;
    for (size_t i = k + 1; i < n; ++i) {
      if (std::norm(m.at(i, k)) > std::norm(m.at(pivot, k))) pivot = i;
    }
    m.swap_rows(k, pivot);
    std::swap(b[k], b[pivot]);
    for (size_t i = k + 1; i < n; ++i) {
      const complex128 factor = -m.at(i, k) / m.at(k, k);
      m.add_row(i, factor, m, k, k);
      b[i] += factor * b[k];
    }
  }
  for (size_t k = n; k-- > 0;) {
    for (size_t j = k + 1; j < n; ++j) b[k] -= m.at(k, j) * b[j];
    b[k] /= m.at(k, k);
  }
  return b;
}

// c^H (I - A^length)^-1, which undoes the truncation of the kernel at `length`.
std::vector<complex128> untruncated(const std::vector<complex128>& c, const LowRank& system,
                                    int64_t length) {
  const Matrix p = power(system, length);
  Matrix transposed(p.size());
  std::vector<complex128> right(c.size());
  for (size_t i = 0; i < p.size(); ++i) {
    right[i] = std::conj(c[i]);
    for (size_t j = 0; j < p.size(); ++j) transposed.set(i, j, (i == j ? 1.0 : 0.0) - p.at(j, i));
  }
  return solve(std::move(transposed), std::move(right));
}

// An equivalent system with q = 1, whose states are divided by q. A q that is nearly zero is
// replaced by a small value, which makes no difference.
ChannelBank::System normalized(const LowRank& from, std::vector<complex128> c) {
  constexpr double kNearZero = 1e-12;
  double maximum = 0;
  for (const complex128& q : from.q) maximum = std::max(maximum, std::abs(q));
  const double minimum = maximum > 0 ? kNearZero * maximum : 1.0;
  ChannelBank::System out{from.a, std::move(c), from.b, from.r};
  for (size_t i = 0; i < from.q.size(); ++i) {
    const complex128 scale = std::abs(from.q[i]) < minimum ? minimum : from.q[i];
    out.c[i] *= scale;
    out.b[i] /= scale;
    out.r[i] *= scale;
  }
  return out;
}

class S4 final : public StateSpaceLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : state_size(config.integer("state_size", 1, 64)),
          kernel_length(config.integer("kernel_length", 1)) {}

    int64_t state_size;
    int64_t kernel_length;
  };

  S4(Fields fields, const Init& init)
      : StateSpaceLayer(channels_of(init.weights)),
        fields_(fields),
        bank_(make_bank(fields, init.weights)) {}

 private:
  // The cost of a step by transform, in state values of a step by recurrence.
  static constexpr int64_t kTransformStates = 16;
  // Layer-wise runs of more steps than this and than kernel_length use the recurrence, since their
  // kernel would be too large to keep.
  static constexpr int64_t kLongKernel = 8192;

  // The weights of one channel.
  struct Continuous {
    std::vector<complex128> lambda, p, b, c;
    double step;
  };

  Shape state_shape(int64_t batch) const override { return bank_.state_shape(batch); }

  void whole(Run& run, const Sequence& x, const Sequence& y) const override {
    if (x.time > std::max(fields_.kernel_length, kLongKernel) || !pays(x.time)) {
      StateSpaceLayer::whole(run, x, y);
      return;
    }
    const int64_t length = kept_length(x.time);
    const auto make = [&] {
      const std::vector<float> kernel = bank_.impulse_response(run, length);
      return ops::LongConvolution(run, kernel.data(), length, channels());
    };
    convolutions_.get(length, make).apply(run, x, y);
  }

  // Whether transforms, which take whole blocks, are faster than the recurrence.
  bool pays(int64_t steps) const {
    return checked_product(steps, fields_.state_size) >
           checked_product(round_up(steps, ops::LongConvolution::kBlock), kTransformStates);
  }

  // The length of the kernel for that many steps. There are few lengths, so that few kernels are
  // kept.
  int64_t kept_length(int64_t steps) const {
    int64_t length = ops::LongConvolution::kBlock;
    while (length < steps) length *= 2;
    const bool covered = steps <= fields_.kernel_length && fields_.kernel_length < length;
    return covered ? round_up(fields_.kernel_length, ops::LongConvolution::kBlock) : length;
  }

  void scan(Run& run, const Sequence& x, float* state, const Sequence& y) const override {
    bank_.scan(run, x, state, y);
  }

  // Discretizes by the bilinear rule. With g = 1 / (2 / step - Lambda): (2 / step - A)^-1 = diag(g)
  // - g p (g p^*)^T / (1 + p^H g p).
  static ChannelBank::System discrete(const Continuous& from, int64_t length) {
    LowRank out;
    complex128 norm = 1, along = 0;
    std::vector<complex128> g;
    for (size_t i = 0; i < from.p.size(); ++i) {
      g.push_back(1.0 / (2.0 / from.step - from.lambda[i]));
      out.r.push_back(std::conj(from.p[i]) * g[i]);
      norm += out.r[i] * from.p[i];
      along += out.r[i] * from.b[i];
    }
    for (size_t i = 0; i < g.size(); ++i) {
      out.a.push_back(4.0 / from.step * g[i] - 1.0);
      out.q.push_back(-4.0 / from.step * g[i] * from.p[i] / norm);
      out.b.push_back(2.0 * g[i] * (from.b[i] - from.p[i] * along / norm));
    }
    return normalized(out, untruncated(from.c, out, length));
  }

  ChannelBank make_bank(const Fields& fields, const WeightScope& weights) const {
    const int64_t n = fields.state_size;
    const Shape shape{channels(), n};
    const std::vector<float> re = weights.floats("lambda_re", shape);
    const std::vector<float> im = weights.floats("lambda_im", shape);
    const std::vector<complex128> p = complex_weights(weights, "p", shape);
    const std::vector<complex128> b = complex_weights(weights, "b", shape);
    const std::vector<complex128> c = complex_weights(weights, "c", shape);
    const std::vector<float> log_step = weights.floats("log_step", {channels()});
    ChannelBank bank(n, true, weights.floats("d", {channels()}));
    for (int64_t h = 0; h < channels(); ++h) {
      const auto slice = [&](const std::vector<complex128>& all) {
        return std::vector<complex128>(all.begin() + h * n, all.begin() + (h + 1) * n);
      };
      Continuous system{{},
                        slice(p),
                        slice(b),
                        slice(c),
                        std::exp(static_cast<double>(log_step[static_cast<size_t>(h)]))};
      for (size_t i = static_cast<size_t>(h * n); i < static_cast<size_t>((h + 1) * n); ++i) {
        system.lambda.emplace_back(std::min(static_cast<double>(re[i]), -1e-4), im[i]);
      }
      bank.set(h, discrete(system, fields.kernel_length));
    }
    return bank;
  }

  Fields fields_;
  ChannelBank bank_;
  ops::PerSize<ops::LongConvolution> convolutions_;  // one for each kernel length
};

SL_REGISTER_LAYER(S4);

}  // namespace
}  // namespace sl
