// Discrete Fourier transforms of n complex or n real values for any n. The constructor makes the
// plan; a transform only reads it and allocates nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/dtype.h"
#include "kernels/fft.h"

namespace sl::ops {

// Transforms of n complex values. y may be x.
class Fft {
 public:
  explicit Fft(int64_t n);
  ~Fft();
  Fft(Fft&&) noexcept;

  int64_t size() const { return n_; }
  // Arithmetic operations of a call, as the algorithm of Cooley and Tukey has them.
  int64_t flop() const;
  // Floats of scratch that each call needs.
  int64_t scratch_size() const { return scratch_size_; }
  void forward(const complex64* x, complex64* y, float* scratch) const;
  // The inverse transform, with the factor 1 / n.
  void inverse(const complex64* x, complex64* y, float* scratch) const;

 private:
  friend class RealFft;
  struct Bluestein;

  // The transform, or with `swapped` the inverse transform without its factor and with the real and
  // imaginary parts of the result exchanged.
  kernels::Split run(const float* x, bool swapped, float* scratch) const;
  void run_interleaved(const float* x, bool inverse, float factor, float* scratch, float* y) const;
  kernels::Split run_bluestein(const float* x, bool swapped, float* scratch) const;

  int64_t n_;
  int64_t scratch_size_ = 0;
  std::vector<kernels::FftPass> passes_;
  std::unique_ptr<const Bluestein> bluestein_;  // for lengths with a large prime factor
};

// Transforms of n real values to the n / 2 + 1 complex values that are not conjugates of others,
// and back. x and y must not overlap.
class RealFft {
 public:
  explicit RealFft(int64_t n);

  int64_t size() const { return n_; }
  int64_t flop() const;
  int64_t spectrum_size() const { return n_ / 2 + 1; }
  int64_t scratch_size() const { return scratch_size_; }
  void forward(const float* x, complex64* y, float* scratch) const;
  // The inverse transform, with the factor 1 / n. Imaginary parts of values that must be real are
  // ignored.
  void inverse(const complex64* x, float* y, float* scratch) const;

 private:
  bool is_even() const { return n_ % 2 == 0; }

  int64_t n_;
  Fft complex_;                  // of n / 2 values if n is even, of n if it is odd
  std::vector<float> twiddles_;  // empty if n is odd
  int64_t scratch_size_;
};

}  // namespace sl::ops
