#pragma once

#include <cstdint>
#include <vector>

namespace sl::kernels {

// Complex values, their real and imaginary parts in arrays of their own.
struct Split {
  float* re;
  float* im;
};

// One pass of a Stockham transform of n values: n / radix small transforms, each of values that lie
// n / radix apart. Its results are multiplied by powers of the root of unity of order n / stride,
// and go to places `stride` apart.
struct FftPass {
  int64_t radix = 1;
  int64_t stride = 1;  // the radices before it, multiplied
  std::vector<float> twiddles;
  std::vector<float> roots;  // of order `radix`, (re, im): of a radix without a kernel of its own
};

// Vectors are at most this long: passes of a smaller stride have a twiddle for each value.
constexpr int64_t kFftLanes = 8;

// Radices with a kernel of their own are 2, 3, 4, 5 and 8; 8 must not come first. Others are prime
// and take a quadratic time.
[[nodiscard]] FftPass make_fft_pass(int64_t n, int64_t radix, int64_t stride);

// The transform of n interleaved complex values, with real and imaginary parts swapped before if
// `swapped`: swapped after, too, it is the inverse without its factor. At least one pass. `a` and
// `b` are scratch of n values each; the result is in that which is returned.
Split fft(const FftPass* passes, int64_t count, int64_t n, const float* x, bool swapped, Split a,
          Split b);
// The same or the inverse, times a factor, to interleaved values. y may be x.
void fft_interleaved(const FftPass* passes, int64_t count, int64_t n, const float* x, bool inverse,
                     float factor, Split a, Split b, float* y);

// Of a real transform of 2h values: from the transform z of h complex values, made of the even and
// the odd ones, to h + 1 interleaved values; and back, with a factor, to what the inverse transform
// of h values takes. Twiddles are make_real_twiddles(h), z has h values.
[[nodiscard]] std::vector<float> make_real_twiddles(int64_t h);
void real_from_complex(Split z, int64_t h, const float* twiddles, float* y);
void complex_from_real(const float* x, int64_t h, const float* twiddles, float factor, float* z);

// y = factor * x, interleaved.
void interleave(Split x, float factor, int64_t n, float* y);

namespace reference {

// By the definition, in double precision. `x` and `y` are interleaved.
void fft(const float* x, int64_t n, bool inverse, float* y);

}  // namespace reference
}  // namespace sl::kernels
