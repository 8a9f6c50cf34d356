#include "kernels/gru.h"

#include <catch2/catch.hpp>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

TEST_CASE("gru_cell agrees with the reference", "[kernels][gru]") {
  for_each_target([](const std::string& target) {
    for (const float range : {1.0f, 8.0f, 200.0f}) {
      for (const int64_t units : sizes()) {
        INFO(target << " units=" << units << " range=" << range);
        const std::vector<float> z = random_floats(3 * units, -range, range, 1);
        const std::vector<float> u = random_floats(3 * units, -1.0f, 1.0f, 2);
        std::vector<float> h = random_floats(units, -2.0f, 2.0f, 3);
        Guarded<float> actual(units, units % 5);
        std::copy(h.begin(), h.end(), actual.data());
        reference::gru_cell(z.data(), u.data(), units, h.data(), h.data(), units);
        gru_cell(z.data(), u.data(), units, actual.data(), actual.data(), units);
        // The rounding error of float32 sums over values of this range.
        const double slack = 1e-6 + 1e-7 * static_cast<double>(range);
        for (int64_t j = 0; j < units; ++j)
          CHECK(close(actual[j], h[static_cast<size_t>(j)], slack, slack));
        CHECK(actual.intact());
      }
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
