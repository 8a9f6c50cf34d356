#include "kernels/bands.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

// A matrix of bands of increasing length, as mel filters have, some of them empty.
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
}  // namespace sl::kernels::testing
