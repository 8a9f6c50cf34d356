#include "kernels/lstm.h"

#include <catch2/catch.hpp>
#include <limits>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

TEST_CASE("lstm_cell agrees with the reference", "[kernels][lstm]") {
  for_each_target([](const std::string& target) {
    for (const float range : {1.0f, 8.0f, 200.0f}) {
      for (const int64_t units : sizes()) {
        INFO(target << " units=" << units << " range=" << range);
        const std::vector<float> z = random_floats(4 * units, -range, range, 1);
        std::vector<float> c = random_floats(units, -2.0f, 2.0f, 2);
        std::vector<float> h(c.size());
        Guarded<float> actual_c(units, units % 3);
        Guarded<float> actual_h(units, units % 5);
        std::copy(c.begin(), c.end(), actual_c.data());
        reference::lstm_cell(z.data(), units, c.data(), h.data(), units);
        lstm_cell(z.data(), units, actual_c.data(), actual_h.data(), units);
        for (int64_t j = 0; j < units; ++j) {
          CHECK(close(actual_c[j], c[static_cast<size_t>(j)], 1e-6, 1e-6));
          CHECK(close(actual_h[j], h[static_cast<size_t>(j)], 1e-6, 1e-6));
        }
        CHECK(actual_c.intact());
        CHECK(actual_h.intact());
      }
    }
  });
}

TEST_CASE("gates with large inputs are exactly open or exactly closed", "[kernels][lstm]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    const float far[] = {20.0f, 3e8f, std::numeric_limits<float>::infinity()};
    for (const float size : far) {
      const float closed_open[] = {-size, size, 1.0f, size};
      float c = 1e6f, h = 0;
      lstm_cell(closed_open, 1, &c, &h, 1);
      CHECK(c == 1e6f);
      CHECK(h == 1.0f);
      const float open_closed[] = {size, -size, -size, -size};
      lstm_cell(open_closed, 1, &c, &h, 1);
      CHECK(c == -1.0f);
      CHECK(h == 0.0f);
    }
  });
}

TEST_CASE("lstm_cell keeps NaN within its unit", "[kernels][lstm]") {
  for_each_target([](const std::string& target) {
    const int64_t units = 19;
    for (int64_t bad = 0; bad < 4 * units; ++bad) {
      INFO(target << " bad=" << bad);
      std::vector<float> z = random_floats(4 * units, -1.0f, 1.0f);
      std::vector<float> c(static_cast<size_t>(units), 0.5f);
      std::vector<float> h(static_cast<size_t>(units), 0.0f);
      z[static_cast<size_t>(bad)] = std::numeric_limits<float>::quiet_NaN();
      lstm_cell(z.data(), units, c.data(), h.data(), units);
      for (int64_t j = 0; j < units; ++j) {
        CHECK(std::isnan(h[static_cast<size_t>(j)]) == (j == bad % units));
      }
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
