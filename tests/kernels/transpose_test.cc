#include "kernels/transpose.h"

#include <catch2/catch.hpp>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

TEST_CASE("transpose agrees with the reference", "[kernels][transpose]") {
  for_each_target([](const std::string& target) {
    for (const int64_t rows : {0, 1, 4, 7, 16, 35}) {
      for (const int64_t columns : {1, 3, 4, 16, 18, 33}) {
        INFO(target << " rows=" << rows << " columns=" << columns);
        const int64_t x_stride = columns + 2, y_stride = rows + 5;
        const std::vector<float> x = random_floats((rows + 1) * x_stride, -1.0f, 1.0f);
        Guarded<float> y(columns * y_stride, 1), want(columns * y_stride, 1);
        transpose(x.data(), x_stride, rows, columns, y.data(), y_stride);
        reference::transpose(x.data(), x_stride, rows, columns, want.data(), y_stride);
        // The gaps between the rows of y must not change either.
        CHECK(std::memcmp(y.data(), want.data(),
                          static_cast<size_t>(columns * y_stride) * sizeof(float)) == 0);
        CHECK(y.intact());
      }
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
