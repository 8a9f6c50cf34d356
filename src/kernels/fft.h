// Discrete Fourier transforms of n complex or 2h real values, as a sequence of Stockham passes.
#pragma once

#include <cstdint>
#include <vector>

namespace sl::kernels {

// Complex values with their real and imaginary parts in separate arrays.
struct Split {
  float* re;
  float* im;
};

// One pass of a Stockham transform of n values: n / radix small transforms, each over `radix`
// values that lie n / radix apart. The results are multiplied by twiddles, powers of the root of
// unity of order n / stride, and stored `stride` apart.
struct FftPass {
  int64_t radix = 1;
  int64_t stride = 1;  // product of the radices of the earlier passes
  std::vector<float> twiddles;
  std::vector<float> roots;  // roots of unity [radix, (re, im)]; empty if the radix has a kernel
};

// Maximum number of lanes of a vector. Passes with a smaller stride store one twiddle for each
// value, others one for each group of `stride` values.
constexpr int64_t kFftLanes = 8;

// Radices 2, 3, 4, 5 and 8 have their own kernels; 8 must not be the first pass. Any other radix
// should be prime and takes a time quadratic in the radix.
[[nodiscard]] FftPass make_fft_pass(int64_t n, int64_t radix, int64_t stride);

// Transforms n interleaved complex values by at least one pass and returns the result, which is in
// `a` or `b`, both scratch of n values. With `swapped`, the real and imaginary parts of x are
// exchanged first: if the caller also exchanges those of the result, it has the inverse transform
// without its factor 1 / n.
Split fft(const FftPass* passes, int64_t count, int64_t n, const float* x, bool swapped, Split a,
          Split b);
// y = factor * transform(x), or the unscaled inverse transform times `factor`; x and y are n
// interleaved complex values, a and b scratch of n values. y may be x.
void fft_interleaved(const FftPass* passes, int64_t count, int64_t n, const float* x, bool inverse,
                     float factor, Split a, Split b, float* y);

// Twiddles that real_from_complex and complex_from_real take for real transforms of 2h values.
[[nodiscard]] std::vector<float> make_real_twiddles(int64_t h);
// The last stage of a transform of 2h real values x: z [h] is the transform of the complex values
// x[2i] + i x[2i + 1], and y gets the h + 1 interleaved results.
void real_from_complex(Split z, int64_t h, const float* twiddles, float* y);
// The first stage of an inverse transform to 2h real values: from h + 1 interleaved values x to the
// h interleaved values z, times `factor`, of which the inverse complex transform is then taken.
void complex_from_real(const float* x, int64_t h, const float* twiddles, float factor, float* z);

// y = factor * x, for n complex values that y holds interleaved.
void interleave(Split x, float factor, int64_t n, float* y);

namespace reference {

// The transform by its definition, in double precision; the inverse has the factor 1 / n. x and y
// are n interleaved complex values.
void fft(const float* x, int64_t n, bool inverse, float* y);

}  // namespace reference
}  // namespace sl::kernels
