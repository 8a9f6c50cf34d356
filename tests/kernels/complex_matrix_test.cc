#include "kernels/complex_matrix.h"

#include <catch2/catch.hpp>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

std::vector<double> random_doubles(int64_t n, uint32_t seed) {
  const std::vector<float> x = random_floats(n, -1.0f, 1.0f, seed);
  return {x.begin(), x.end()};
}

TEST_CASE("multiply_matrices agrees with the reference", "[kernels][complex_matrix]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : {0, 1, 2, 3, 7, 8, 17, 64}) {
      INFO(target << " n=" << n);
      const int64_t size = n * n;
      const std::vector<double> a_re = random_doubles(size, 1), a_im = random_doubles(size, 2);
      const std::vector<double> b_re = random_doubles(size, 3), b_im = random_doubles(size, 4);
      const ComplexMatrix a{a_re.data(), a_im.data()}, b{b_re.data(), b_im.data()};
      std::vector<double> want_re(a_re.size()), want_im(a_re.size());
      Guarded<double> re(size, 1), im(size, 1);
      multiply_matrices(a, b, n, re.data(), im.data());
      reference::multiply_matrices(a, b, n, want_re.data(), want_im.data());
      for (int64_t i = 0; i < size; ++i) {
        CHECK(close(re[i], want_re[static_cast<size_t>(i)], 1e-13, 1e-13));
        CHECK(close(im[i], want_im[static_cast<size_t>(i)], 1e-13, 1e-13));
      }
      CHECK(re.intact());
      CHECK(im.intact());
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
