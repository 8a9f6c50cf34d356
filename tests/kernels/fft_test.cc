#include "kernels/fft.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <complex>
#include <limits>

#include "core/status.h"
#include "kernel_testing.h"
#include "kernels/bands.h"
#include "ops/fft.h"

namespace sl::kernels {
namespace {

using testing::close;
using testing::for_each_target;
using testing::Guarded;
using testing::random_floats;

// Powers of two, products of all small radices, primes, and primes that are too large for a pass.
const std::vector<int64_t>& lengths() {
  static const std::vector<int64_t> list = {
      1,  2,  3,  4,  5,  6,  7,  8,   9,   10,  12,  15,  16,  20,  24,  25,  31,  32,  33,
      40, 48, 49, 64, 67, 96, 97, 120, 128, 134, 201, 240, 256, 400, 480, 511, 512, 768, 2048};
  return list;
}

complex64* complexes(std::vector<float>& x) { return reinterpret_cast<complex64*>(x.data()); }

double largest_difference(const float* a, const float* b, int64_t n) {
  double largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    largest = std::max(largest, static_cast<double>(std::abs(a[i] - b[i])));
  }
  return largest;
}

// Errors grow with the transform's own size, not with its largest value.
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
      // In place.
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

TEST_CASE("an inverse real transform leaves alone what must be real", "[kernels][fft]") {
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

TEST_CASE("sums of complex products agree with the reference", "[kernels][fft]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : testing::sizes()) {
      for (const int64_t count : {0, 1, 5}) {
        INFO(target << " n=" << n << " count=" << count);
        const int64_t step = 2 * n + 3;
        const std::vector<float> x = random_floats(5 * step, -1.0f, 1.0f, 1);
        const std::vector<float> w = random_floats(5 * step, -1.0f, 1.0f, 2);
        std::vector<float> want(static_cast<size_t>(2 * n));
        Guarded<float> y(2 * n, 1);
        // The first factors from the last on.
        const float* last = x.data() + std::max<int64_t>(count - 1, 0) * step;
        sum_products_complex(last, -step, w.data(), step, count, n, y.data());
        reference::sum_products_complex(last, -step, w.data(), step, count, n, want.data());
        CHECK(largest_difference(y.data(), want.data(), 2 * n) < 2e-6);
        CHECK(y.intact());
      }
    }
  });
}

TEST_CASE("transforms of impossible lengths are refused", "[kernels][fft]") {
  CHECK_THROWS_AS(ops::Fft(0), Error);
  CHECK_THROWS_AS(ops::RealFft(0), Error);
  CHECK_THROWS_AS(ops::RealFft(-2), Error);
  CHECK_THROWS_AS(ops::Fft(int64_t{1} << 40), Error);
}

TEST_CASE("magnitudes agree with the reference at any size of value", "[kernels][fft]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : testing::sizes()) {
      for (const float scale : {1.0f, 1e-25f, 1e25f, 1e-42f, 0.0f}) {
        INFO(target << " n=" << n << " scale=" << scale);
        std::vector<float> x = random_floats(2 * n, -3.0f, 3.0f), want(static_cast<size_t>(n));
        for (float& v : x) v *= scale;
        Guarded<float> y(n, 1);
        magnitude(x.data(), y.data(), n);
        reference::magnitude(x.data(), want.data(), n);
        for (int64_t i = 0; i < n; ++i) {
          CHECK(close(y[i], want[static_cast<size_t>(i)], 5e-7, 3e-45));
        }
        CHECK(y.intact());
      }
    }
    constexpr float kInf = std::numeric_limits<float>::infinity();
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    const float x[] = {kInf, 1, -kInf, kInf, kNan, 1, 0, kNan, 3, 4};
    float y[5];
    magnitude(x, y, 5);
    CHECK(y[0] == kInf);
    CHECK(y[1] == kInf);
    CHECK(std::isnan(y[2]));
    CHECK(std::isnan(y[3]));
    CHECK(y[4] == 5);
  });
}

// Bands of growing length, as mel filters have, some of them empty.
std::vector<float> band_matrix(int64_t inputs, int64_t outputs) {
  std::vector<float> out(static_cast<size_t>(inputs * outputs));
  const std::vector<float> values = random_floats(inputs * outputs, 0.1f, 1.0f);
  for (int64_t j = 0; j < outputs; ++j) {
    const int64_t first = j * inputs / outputs, end = std::min(inputs, first + j % 7);
    for (int64_t i = first; i < end; ++i) {
      const auto at = static_cast<size_t>(i * outputs + j);
      out[at] = values[at];
    }
  }
  return out;
}

TEST_CASE("banded products agree with dense ones", "[kernels][bands]") {
  for_each_target([](const std::string& target) {
    for (const int64_t inputs : {1, 2, 5, 8, 17, 257}) {
      for (const int64_t outputs : {1, 3, 4, 8, 23, 80}) {
        INFO(target << " inputs=" << inputs << " outputs=" << outputs);
        const std::vector<float> matrix = band_matrix(inputs, outputs);
        const Bands bands = make_bands(matrix.data(), inputs, outputs);
        constexpr int64_t kRows = 3;
        const std::vector<float> x = random_floats(kRows * inputs, -1.0f, 1.0f, 2);
        Guarded<float> y(kRows * outputs, 1);
        multiply_bands(x.data(), bands, kRows, y.data());
        std::vector<float> same(static_cast<size_t>(kRows * outputs));
        reference::multiply_bands(x.data(), bands, kRows, same.data());
        for (int64_t row = 0; row < kRows; ++row) {
          for (int64_t j = 0; j < outputs; ++j) {
            double want = 0;
            for (int64_t i = 0; i < inputs; ++i) {
              want += static_cast<double>(x[static_cast<size_t>(row * inputs + i)]) *
                      static_cast<double>(matrix[static_cast<size_t>(i * outputs + j)]);
            }
            CHECK(close(y[row * outputs + j], want, 1e-6, 1e-6));
            CHECK(close(same[static_cast<size_t>(row * outputs + j)], want, 1e-6, 1e-6));
          }
        }
        CHECK(y.intact());
      }
    }
  });
}

}  // namespace
}  // namespace sl::kernels
