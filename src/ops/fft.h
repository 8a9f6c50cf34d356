// Discrete Fourier transforms of any length. Plans are made once; running one only reads it, and
// allocates nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/dtype.h"
#include "kernels/fft.h"

namespace sl::ops {

// Of n complex values. Input and output may be the same array.
class Fft {
 public:
  explicit Fft(int64_t n);
  ~Fft();
  Fft(Fft&&) noexcept;

  int64_t size() const { return n_; }
  // Floats of scratch that each call needs.
  int64_t scratch_size() const { return scratch_size_; }
  void forward(const complex64* x, complex64* y, float* scratch) const;
  // With the factor 1 / n.
  void inverse(const complex64* x, complex64* y, float* scratch) const;

 private:
  friend class RealFft;
  struct Bluestein;

  // Without a factor; the inverse's result is swapped.
  kernels::Split run(const float* x, bool swapped, float* scratch) const;
  void run_interleaved(const float* x, bool inverse, float factor, float* scratch, float* y) const;
  kernels::Split run_bluestein(const float* x, bool swapped, float* scratch) const;

  int64_t n_;
  int64_t scratch_size_ = 0;
  std::vector<kernels::FftPass> passes_;
  std::unique_ptr<const Bluestein> bluestein_;  // for lengths with a large prime factor
};

// Of n real values, to and from the n / 2 + 1 values that are not conjugates of others. Input and
// output must not overlap.
class RealFft {
 public:
  explicit RealFft(int64_t n);

  int64_t size() const { return n_; }
  int64_t spectrum_size() const { return n_ / 2 + 1; }
  int64_t scratch_size() const { return scratch_size_; }
  void forward(const float* x, complex64* y, float* scratch) const;
  // With the factor 1 / n; the imaginary part of what must be real is left alone.
  void inverse(const complex64* x, float* y, float* scratch) const;

 private:
  bool is_even() const { return n_ % 2 == 0; }

  int64_t n_;
  Fft complex_;                  // of half the length if that is a whole number
  std::vector<float> twiddles_;  // then
  int64_t scratch_size_;
};

}  // namespace sl::ops
