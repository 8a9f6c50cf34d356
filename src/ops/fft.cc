#include "ops/fft.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/ratio.h"
#include "core/status.h"
#include "kernels/complex.h"

namespace sl::ops {
namespace {

using kernels::Split;

// For larger prime factors Bluestein's method, by transforms of another length, is faster.
constexpr int64_t kMaxPrime = 61;
constexpr int64_t kManyValues = 2048;
// Maximum length, so that products of indices, which make the twiddles, do not overflow.
constexpr int64_t kMaxLength = int64_t{1} << 24;

// Size of an array of n floats with padding, so that consecutive arrays do not compete for the same
// cache lines.
int64_t padded(int64_t n) { return round_up(n, 16) + 16; }

Split split_at(float* scratch, int64_t n) { return {scratch, scratch + padded(n)}; }
int64_t split_size(int64_t n) { return 2 * padded(n); }

const float* floats(const complex64* x) { return reinterpret_cast<const float*>(x); }
float* floats(complex64* x) { return reinterpret_cast<float*>(x); }

// Prime factors other than 2, ascending.
std::vector<int64_t> odd_factors(int64_t n) {
  while (n % 2 == 0) n /= 2;
  std::vector<int64_t> out;
  for (int64_t p = 3; p * p <= n; p += 2) {
    for (; n % p == 0; n /= p) out.push_back(p);
  }
  if (n > 1) out.push_back(n);
  return out;
}

// The radices of the passes of n. Powers of two come first, so that later strides are whole
// vectors. Radix 4 is the fastest while the values fit into the L1 cache; beyond that radix 8 is,
// because it needs fewer passes.
std::vector<int64_t> radices(int64_t n, const std::vector<int64_t>& odd) {
  int twos = 0;
  for (; ((n >> twos) & 1) == 0;) ++twos;
  int eights = twos % 2 == 1 && twos > 3 ? 1 : 0;
  while (n >= kManyValues && 2 + 3 * (eights + 2) <= twos) eights += 2;
  std::vector<int64_t> out;
  for (int left = twos - 3 * eights; left > 0; left -= 2) out.push_back(left > 1 ? 4 : 2);
  out.insert(out.end(), static_cast<size_t>(eights), 8);
  out.insert(out.end(), odd.begin(), odd.end());
  if (out.empty()) out.push_back(1);
  return out;
}

// The smallest number that is at least n and 1, 3 or 5 times a power of two.
int64_t round_up_to_fast(int64_t n) {
  int64_t best = 0;
  for (const int64_t odd : {1, 3, 5}) {
    int64_t size = odd;
    while (size < n) size *= 2;
    if (best == 0 || size < best) best = size;
  }
  return best;
}

}  // namespace

// A transform of n values as a convolution with a chirp, computed by transforms of a fast length.
struct Fft::Bluestein {
  explicit Bluestein(int64_t n) : fft(round_up_to_fast(2 * n - 1)) {
    const auto size = static_cast<size_t>(n);
    chirp.resize(size);
    for (int64_t k = 0; k < n; ++k) {
      const double angle =
          -std::numbers::pi * static_cast<double>(k * k % (2 * n)) / static_cast<double>(n);
      chirp[static_cast<size_t>(k)] = {static_cast<float>(std::cos(angle)),
                                       static_cast<float>(std::sin(angle))};
    }
    std::vector<complex64> kernel(static_cast<size_t>(fft.size()));
    for (size_t k = 0; k < size; ++k) {
      kernel[k] = std::conj(chirp[k]);
      if (k > 0) kernel[kernel.size() - k] = kernel[k];
    }
    spectrum.resize(kernel.size());
    std::vector<float> scratch(static_cast<size_t>(fft.scratch_size()));
    fft.forward(kernel.data(), spectrum.data(), scratch.data());
  }

  Fft fft;
  std::vector<complex64> chirp, spectrum;
};

Fft::Fft(int64_t n) : n_(n) {
  if (n < 1 || n > kMaxLength) {
    fail(Code::kUnsupported, "a Fourier transform of {} values: from 1 to {} are possible", n,
         kMaxLength);
  }
  const std::vector<int64_t> odd = odd_factors(n);
  if (!odd.empty() && odd.back() > kMaxPrime) {
    bluestein_ = std::make_unique<Bluestein>(n);
    const Fft& inner = bluestein_->fft;
    scratch_size_ = split_size(n) + 2 * padded(inner.size()) + inner.scratch_size();
    return;
  }
  scratch_size_ = 2 * split_size(n);
  int64_t stride = 1;
  for (const int64_t radix : radices(n, odd)) {
    passes_.push_back(kernels::make_fft_pass(n, radix, stride));
    stride *= radix;
  }
}

Fft::~Fft() = default;
Fft::Fft(Fft&&) noexcept = default;

Split Fft::run(const float* x, bool swapped, float* scratch) const {
  if (bluestein_) return run_bluestein(x, swapped, scratch);
  return kernels::fft(passes_.data(), static_cast<int64_t>(passes_.size()), n_, x, swapped,
                      split_at(scratch, n_), split_at(scratch + split_size(n_), n_));
}

Split Fft::run_bluestein(const float* x, bool swapped, float* scratch) const {
  const Bluestein& b = *bluestein_;
  const Split out = split_at(scratch, n_);
  auto* values = reinterpret_cast<complex64*>(scratch + split_size(n_));
  float* inner = scratch + split_size(n_) + 2 * padded(b.fft.size());
  std::copy_n(x, 2 * n_, floats(values));
  if (swapped) {
    for (int64_t k = 0; k < n_; ++k) values[k] = {values[k].imag(), values[k].real()};
  }
  kernels::multiply_complex(floats(values), floats(b.chirp.data()), floats(values), n_);
  std::fill(values + n_, values + b.fft.size(), complex64());
  b.fft.forward(values, values, inner);
  kernels::multiply_complex(floats(values), floats(b.spectrum.data()), floats(values),
                            b.fft.size());
  b.fft.inverse(values, values, inner);
  kernels::multiply_complex(floats(values), floats(b.chirp.data()), floats(values), n_);
  for (int64_t k = 0; k < n_; ++k) {
    out.re[k] = values[k].real();
    out.im[k] = values[k].imag();
  }
  return out;
}

void Fft::run_interleaved(const float* x, bool inverse, float factor, float* scratch,
                          float* y) const {
  if (bluestein_) {
    const Split z = run_bluestein(x, inverse, scratch);
    kernels::interleave(inverse ? Split{z.im, z.re} : z, factor, n_, y);
    return;
  }
  kernels::fft_interleaved(passes_.data(), static_cast<int64_t>(passes_.size()), n_, x, inverse,
                           factor, split_at(scratch, n_), split_at(scratch + split_size(n_), n_),
                           y);
}

void Fft::forward(const complex64* x, complex64* y, float* scratch) const {
  run_interleaved(floats(x), false, 1.0f, scratch, floats(y));
}

void Fft::inverse(const complex64* x, complex64* y, float* scratch) const {
  run_interleaved(floats(x), true, 1.0f / static_cast<float>(n_), scratch, floats(y));
}

RealFft::RealFft(int64_t n)
    : n_(n),
      complex_(n % 2 == 0 ? n / 2 : n),
      scratch_size_(complex_.scratch_size() + 2 * padded(n)) {
  if (is_even()) twiddles_ = kernels::make_real_twiddles(n / 2);
}

void RealFft::forward(const float* x, complex64* y, float* scratch) const {
  if (is_even()) {
    // Even values as real parts, odd ones as imaginary parts.
    kernels::real_from_complex(complex_.run(x, false, scratch), n_ / 2, twiddles_.data(),
                               floats(y));
    return;
  }
  float* values = scratch + complex_.scratch_size();
  for (int64_t k = 0; k < n_; ++k) {
    values[2 * k] = x[k];
    values[2 * k + 1] = 0.0f;
  }
  kernels::interleave(complex_.run(values, false, scratch), 1.0f, spectrum_size(), floats(y));
}

void RealFft::inverse(const complex64* x, float* y, float* scratch) const {
  float* values = scratch + complex_.scratch_size();
  if (is_even()) {
    kernels::complex_from_real(floats(x), n_ / 2, twiddles_.data(), 1.0f / static_cast<float>(n_),
                               values);
    complex_.run_interleaved(values, true, 1.0f, scratch, y);
    return;
  }
  auto* full = reinterpret_cast<complex64*>(values);
  full[0] = x[0].real();
  for (int64_t k = 1; k < spectrum_size(); ++k) {
    full[k] = x[k];
    full[n_ - k] = std::conj(x[k]);
  }
  const Split z = complex_.run(values, true, scratch);
  const float factor = 1.0f / static_cast<float>(n_);
  for (int64_t k = 0; k < n_; ++k) y[k] = z.im[k] * factor;
}

int64_t Fft::flop() const {
  const auto n = static_cast<double>(n_);
  return static_cast<int64_t>(5 * n * std::log2(std::max(n, 1.0)));
}

int64_t RealFft::flop() const {
  const auto n = static_cast<double>(n_);
  return static_cast<int64_t>(2.5 * n * std::log2(std::max(n, 1.0)));
}

}  // namespace sl::ops
