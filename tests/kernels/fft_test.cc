#include "kernels/fft.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <complex>

#include "core/status.h"
#include "kernel_testing.h"
#include "ops/fft.h"

namespace sl::kernels::testing {
namespace {

// Powers of two, products of all small radices, primes, and primes too large for a pass.
const std::vector<int64_t>& lengths() {
  static const std::vector<int64_t> kList = {
      1,  2,  3,  4,  5,  6,  7,  8,   9,   10,  12,  15,  16,  20,  24,  25,  31,  32,  33,
      40, 48, 49, 64, 67, 96, 97, 120, 128, 134, 201, 240, 256, 400, 480, 511, 512, 768, 2048};
  return kList;
}

complex64* complexes(std::vector<float>& x) { return reinterpret_cast<complex64*>(x.data()); }

double largest_difference(const float* a, const float* b, int64_t n) {
  double largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    largest = std::max(largest, static_cast<double>(std::abs(a[i] - b[i])));
  }
  return largest;
}

// The error grows with the norm of the transform, not with its largest value.
double bound(int64_t n) { return 4e-7 * std::sqrt(static_cast<double>(n)) * 4; }

TEST_CASE("complex transforms agree with the definition", "[kernels][fft]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : lengths()) {
      INFO(target << " n=" << n);
      std::vector<float> x = random_floats(2 * n, -1.0f, 1.0f), want(x.size()), back(x.size());
      const ops::Fft fft(n);
      std::vector<float> scratch(static_cast<size_t>(fft.scratch_size()));
      Guarded<float> y(2 * n, 1);
      auto* const out = reinterpret_cast<complex64*>(y.data());
      reference::fft(x.data(), n, false, want.data());
      fft.forward(complexes(x), out, scratch.data());
      CHECK(largest_difference(y.data(), want.data(), 2 * n) < bound(n));
      CHECK(y.intact());
      fft.inverse(out, complexes(back), scratch.data());
      CHECK(largest_difference(back.data(), x.data(), 2 * n) < 4e-6);
      // Input and output may be the same memory.
      fft.forward(complexes(x), complexes(x), scratch.data());
      CHECK(largest_difference(y.data(), x.data(), 2 * n) == 0);
    }
  });
}

TEST_CASE("real transforms agree with the definition", "[kernels][fft]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : lengths()) {
      INFO(target << " n=" << n);
      const std::vector<float> x = random_floats(n, -1.0f, 1.0f);
      std::vector<float> full(static_cast<size_t>(2 * n)), want(full.size());
      for (int64_t i = 0; i < n; ++i) full[static_cast<size_t>(2 * i)] = x[static_cast<size_t>(i)];
      reference::fft(full.data(), n, false, want.data());
      const ops::RealFft fft(n);
      std::vector<float> scratch(static_cast<size_t>(fft.scratch_size()));
      const int64_t bins = fft.spectrum_size();
      Guarded<float> y(2 * bins, 1), back(n, 3);
      fft.forward(x.data(), reinterpret_cast<complex64*>(y.data()), scratch.data());
      CHECK(largest_difference(y.data(), want.data(), 2 * bins) < bound(n));
      CHECK(y.intact());
      fft.inverse(reinterpret_cast<complex64*>(y.data()), back.data(), scratch.data());
      CHECK(largest_difference(back.data(), x.data(), n) < 4e-6);
      CHECK(back.intact());
    }
  });
}

TEST_CASE("an inverse real transform ignores imaginary parts that must be zero", "[kernels][fft]") {
  for (const int64_t n : {1, 2, 7, 16}) {
    const ops::RealFft fft(n);
    std::vector<float> scratch(static_cast<size_t>(fft.scratch_size()));
    std::vector<complex64> x(static_cast<size_t>(fft.spectrum_size()), complex64(1, 0));
    std::vector<float> y(static_cast<size_t>(n)), z(y);
    fft.inverse(x.data(), y.data(), scratch.data());
    x.front() += complex64(0, 5);
    if (n % 2 == 0) x.back() += complex64(0, 5);
    fft.inverse(x.data(), z.data(), scratch.data());
    CHECK(y == z);
  }
}

TEST_CASE("transforms of impossible lengths are refused", "[kernels][fft]") {
  CHECK_THROWS_AS(ops::Fft(0), Error);
  CHECK_THROWS_AS(ops::RealFft(0), Error);
  CHECK_THROWS_AS(ops::RealFft(-2), Error);
  CHECK_THROWS_AS(ops::Fft(int64_t{1} << 40), Error);
}

}  // namespace
}  // namespace sl::kernels::testing
