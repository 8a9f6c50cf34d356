#include "kernels/normalize.h"

#include <catch2/catch.hpp>
#include <limits>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

constexpr int64_t kRows = 3;

// Calls body(rows, length) for several row counts and lengths, all positive.
template <class Body>
void for_each_shape(const Body& body) {
  for_each_target([&](const std::string& target) {
    for (const int64_t length : sizes()) {
      if (length == 0) continue;
      INFO(target << " length=" << length);
      body(kRows, length);
    }
  });
}

// Checks that fn(y) gives the same for the kernel and the reference, and writes nothing around y.
template <class Fn, class Reference>
void check_same(int64_t size, double relative, double absolute, const Fn& fn,
                const Reference& reference) {
  Guarded<float> y(size, size % 3);
  std::vector<float> expected(static_cast<size_t>(size));
  fn(y.data());
  reference(expected.data());
  for (int64_t i = 0; i < size; ++i) {
    INFO("i=" << i);
    REQUIRE(close(y[i], expected[static_cast<size_t>(i)], relative, absolute));
  }
  CHECK(y.intact());
}

TEST_CASE("normalized rows agree with the reference", "[kernels][normalize]") {
  for_each_shape([](int64_t rows, int64_t length) {
    const std::vector<float> x = random_floats(rows * length, -1.0f, 3.0f, 1);
    const std::vector<float> scale = random_floats(length, -2.0f, 2.0f, 2);
    const std::vector<float> bias = random_floats(length, -2.0f, 2.0f, 3);
    for (const int choice : {0, 1, 2, 3}) {
      const float* s = choice & 1 ? scale.data() : nullptr;
      const float* b = choice & 2 ? bias.data() : nullptr;
      check_same(
          rows * length, 2e-6, 4e-6,
          [&](float* y) { layer_norm(x.data(), rows, length, 1e-3f, s, b, y); },
          [&](float* y) { reference::layer_norm(x.data(), rows, length, 1e-3f, s, b, y); });
      check_same(
          rows * length, 2e-6, 0,
          [&](float* y) { rms_norm(x.data(), rows, length, 2.5f, 1e-3f, s, y); },
          [&](float* y) { reference::rms_norm(x.data(), rows, length, 2.5f, 1e-3f, s, y); });
    }
  });
}

TEST_CASE("a large mean does not make the variance inaccurate", "[kernels][normalize]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    std::vector<float> x(64), y(x.size());
    for (size_t i = 0; i < x.size(); ++i) x[i] = i % 2 == 0 ? 4097.0f : 4095.0f;
    layer_norm(x.data(), 1, 64, 0.0f, nullptr, nullptr, y.data());
    for (size_t i = 0; i < y.size(); ++i) CHECK(close(y[i], i % 2 == 0 ? 1.0 : -1.0, 1e-6, 0));
  });
}

TEST_CASE("rows are normalized in place, and a NaN changes its own row only",
          "[kernels][normalize]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    std::vector<float> x = random_floats(3 * 37, -1.0f, 1.0f, 1);
    std::vector<float> expected(x.size());
    x[40] = std::numeric_limits<float>::quiet_NaN();
    layer_norm(x.data(), 3, 37, 1e-6f, nullptr, nullptr, expected.data());
    layer_norm(x.data(), 3, 37, 1e-6f, nullptr, nullptr, x.data());
    for (size_t i = 0; i < x.size(); ++i) {
      CHECK(std::isnan(x[i]) == (i / 37 == 1));
      CHECK((std::isnan(x[i]) || x[i] == expected[i]));
    }
  });
}

TEST_CASE("sums by row and by column agree with the reference", "[kernels][normalize]") {
  for_each_shape([](int64_t rows, int64_t length) {
    const std::vector<float> x = random_floats(rows * length, -3.0f, 3.0f, 1);
    const std::vector<float> means = random_floats(std::max(rows, length), -1.0f, 1.0f, 2);
    const double absolute = 1e-6 * static_cast<double>(length);
    check_same(
        rows, 1e-6, absolute, [&](float* y) { row_sums(x.data(), rows, length, y); },
        [&](float* y) { reference::row_sums(x.data(), rows, length, y); });
    check_same(
        rows, 2e-6, 0, [&](float* y) { row_deviations(x.data(), means.data(), rows, length, y); },
        [&](float* y) { reference::row_deviations(x.data(), means.data(), rows, length, y); });
    check_same(
        length, 1e-6, 1e-6, [&](float* y) { column_sums(x.data(), rows, length, y); },
        [&](float* y) { reference::column_sums(x.data(), rows, length, y); });
    check_same(
        length, 2e-6, 0,
        [&](float* y) { column_deviations(x.data(), means.data(), rows, length, y); },
        [&](float* y) { reference::column_deviations(x.data(), means.data(), rows, length, y); });
  });
}

TEST_CASE("shifts and scales agree with the reference", "[kernels][normalize]") {
  for_each_shape([](int64_t rows, int64_t length) {
    const int64_t size = rows * length;
    const std::vector<float> x = random_floats(size, -3.0f, 3.0f, 1);
    const std::vector<float> shift = random_floats(size, -1.0f, 1.0f, 2);
    const std::vector<float> scale = random_floats(size, 0.5f, 2.0f, 3);
    const std::vector<float> bias = random_floats(size, -1.0f, 1.0f, 4);
    check_same(
        size, 1e-6, 1e-6,
        [&](float* y) {
          shift_and_scale(x.data(), shift.data(), scale.data(), bias.data(), size, y);
        },
        [&](float* y) {
          reference::shift_and_scale(x.data(), shift.data(), scale.data(), bias.data(), size, y);
        });
    check_same(
        size, 1e-6, 2e-6,
        [&](float* y) {
          normalize_rows(x.data(), shift.data(), scale.data(), rows, length, scale.data(),
                         bias.data(), y);
        },
        [&](float* y) {
          reference::normalize_rows(x.data(), shift.data(), scale.data(), rows, length,
                                    scale.data(), bias.data(), y);
        });
  });
}

}  // namespace
}  // namespace sl::kernels::testing
