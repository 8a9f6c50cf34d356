#include "kernels/rank_update.h"

#include <catch2/catch.hpp>
#include <vector>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

std::vector<double> random_doubles(int64_t n, unsigned seed) {
  const std::vector<float> x = random_floats(n, -1.0f, 1.0f, seed);
  return {x.begin(), x.end()};
}

void check(int64_t count, int64_t m, int64_t n) {
  INFO("count=" << count << " m=" << m << " n=" << n);
  const int64_t a_stride = m + 3, b_stride = n + 1, c_stride = n + 2;
  const std::vector<double> a = random_doubles(count * a_stride + 1, 1);
  const std::vector<double> b = random_doubles(count * b_stride + 1, 2);
  const std::vector<double> before = random_doubles(m * c_stride, 3);
  Guarded<double> c(m * c_stride, 1);
  for (int64_t i = 0; i < m * c_stride; ++i) c[i] = before[static_cast<size_t>(i)];
  rank_update(-0.5, a.data(), a_stride, b.data(), b_stride, count, m, n, c.data(), c_stride);
  bool good = true;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < c_stride; ++j) {
      double want = before[static_cast<size_t>(i * c_stride + j)];
      for (int64_t q = 0; j < n && q < count; ++q) {
        want -= 0.5 * a[static_cast<size_t>(q * a_stride + i)] *
                b[static_cast<size_t>(q * b_stride + j)];
      }
      good = good && close(c[i * c_stride + j], want, 1e-12, 1e-12);
    }
  }
  CHECK(good);
  CHECK(c.intact());
}

TEST_CASE("rank_update adds the product and leaves what is beside it", "[kernels][rank_update]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const int64_t count : {0, 1, 7, 64}) {
      for (const int64_t m : {1, 5, 6, 19}) {
        for (const int64_t n : {1, 2, 7, 8, 17, 40}) check(count, m, n);
      }
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
