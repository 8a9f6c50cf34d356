#include "kernels/reduce.h"

#include <catch2/catch.hpp>
#include <limits>
#include <numeric>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST_CASE("reductions agree with the reference", "[kernels][reduce]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : sizes()) {
      for (int64_t offset = 0; offset < 3; ++offset) {
        INFO(target << " n=" << n << " offset=" << offset);
        const std::vector<float> store = random_floats(n + offset, -3.0f, 3.0f, 1);
        const std::vector<float> other = random_floats(n, -3.0f, 3.0f, 2);
        const float* x = store.data() + offset;
        const double absolute = 2e-7 * static_cast<double>(n);
        CHECK(close(sum(x, n), reference::sum(x, n), 1e-6, absolute));
        CHECK(close(sum_squares(x, n), reference::sum_squares(x, n), 2e-6, 0.0));
        CHECK(close(dot(x, other.data(), n), reference::dot(x, other.data(), n), 1e-6,
                    3.0 * absolute));
        CHECK(max(x, n) == reference::max(x, n));
        CHECK(min(x, n) == reference::min(x, n));
      }
    }
  });
}

TEST_CASE("folded rows agree with the reference", "[kernels][reduce]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : sizes()) {
      for (const int64_t rows : {1, 2, 3, 9}) {
        for (const int64_t pitch : {n, n / 3 + 1}) {
          for (const Binary op : {Binary::kAdd, Binary::kMaximum, Binary::kMinimum}) {
            INFO(target << " n=" << n << " rows=" << rows << " pitch=" << pitch);
            std::vector<float> x = random_floats((rows - 1) * pitch + n, -3.0f, 3.0f, 1);
            if (n > 2) x[2] = kNan;
            Guarded<float> y(n, 1);
            std::vector<float> want(static_cast<size_t>(n));
            fold_rows(op, x.data(), pitch, rows, n, y.data());
            reference::fold_rows(op, x.data(), pitch, rows, n, want.data());
            CHECK(y.intact());
            const auto same = [&](float a, float b) { return close(a, b, 1e-6, 1e-6); };
            CHECK(std::equal(want.begin(), want.end(), y.data(), same));
            // In place: y may be the first row of x, for up to two rows.
            if (rows > 2) continue;
            fold_rows(op, x.data(), pitch, rows, n, x.data());
            CHECK(std::equal(want.begin(), want.end(), x.data(), same));
          }
        }
      }
    }
  });
}

TEST_CASE("folds of windows agree with the reference", "[kernels][reduce]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : {1, 3, 8, 17, 32, 70}) {
      for (const auto& [step, pitch] : {std::pair{2 * n, n}, std::pair{n + 1, 3 * n}}) {
        for (const Binary op : {Binary::kAdd, Binary::kMaximum, Binary::kMinimum}) {
          INFO(target << " n=" << n << " step=" << step << " pitch=" << pitch);
          constexpr int64_t kCount = 5, kTaps = 3;
          std::vector<float> x =
              random_floats((kCount - 1) * step + (kTaps - 1) * pitch + n, -3.0f, 3.0f, 1);
          if (n > 2) x[2] = kNan;
          Guarded<float> y(kCount * n, 1);
          std::vector<float> want(static_cast<size_t>(kCount * n));
          fold_windows(op, x.data(), step, kCount, pitch, kTaps, n, y.data());
          reference::fold_windows(op, x.data(), step, kCount, pitch, kTaps, n, want.data());
          CHECK(y.intact());
          const auto same = [&](float a, float b) { return close(a, b, 1e-6, 1e-6); };
          CHECK(std::equal(want.begin(), want.end(), y.data(), same));
        }
      }
    }
  });
}

TEST_CASE("reductions find the extreme or the NaN wherever it is", "[kernels][reduce]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : {1, 7, 16, 37, 70}) {
      for (int64_t i = 0; i < n; ++i) {
        INFO(target << " n=" << n << " i=" << i);
        std::vector<float> x(static_cast<size_t>(n), -1.0f);
        x[static_cast<size_t>(i)] = 5.0f;
        CHECK(max(x.data(), n) == 5.0f);
        x[static_cast<size_t>(i)] = -5.0f;
        CHECK(min(x.data(), n) == -5.0f);
        x[static_cast<size_t>(i)] = kNan;
        CHECK(std::isnan(max(x.data(), n)));
        CHECK(std::isnan(min(x.data(), n)));
        CHECK(std::isnan(sum(x.data(), n)));
        std::vector<float> y(x.size());
        softmax(x.data(), y.data(), n);
        CHECK(std::all_of(y.begin(), y.end(), [](float v) { return std::isnan(v); }));
      }
    }
    CHECK(max(nullptr, 0) == -kInf);
    CHECK(min(nullptr, 0) == kInf);
  });
}

TEST_CASE("softmax agrees with the reference", "[kernels][reduce]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : sizes()) {
      for (const float shift : {0.0f, 1000.0f, -1e30f}) {
        INFO(target << " n=" << n << " shift=" << shift);
        std::vector<float> x = random_floats(n, -30.0f, 30.0f);
        for (float& v : x) v += shift;
        if (n > 4) x[3] = -kInf;
        std::vector<float> expected(x.size());
        reference::softmax(x.data(), expected.data(), n);
        Guarded<float> y(n, n % 3);
        softmax(x.data(), y.data(), n);
        for (int64_t i = 0; i < n; ++i) {
          // Rounding x - max(x), which can reach 60, to float causes a relative error of up to
          // 4e-6.
          CHECK(close(y[i], expected[static_cast<size_t>(i)], 5e-6, 1e-37));
        }
        CHECK(y.intact());
        softmax(x.data(), x.data(), n);
        CHECK(std::equal(x.begin(), x.end(), y.data()));
      }
    }
  });
}

TEST_CASE("softmax of infinities agrees with JAX", "[kernels][reduce]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    std::vector<float> y(2);
    softmax(std::vector<float>{-kInf, -kInf}.data(), y.data(), 2);
    CHECK((std::isnan(y[0]) && std::isnan(y[1])));
    softmax(std::vector<float>{1.0f, kInf}.data(), y.data(), 2);
    CHECK((std::isnan(y[0]) && std::isnan(y[1])));
    softmax(std::vector<float>{-kInf, 0.0f}.data(), y.data(), 2);
    CHECK((y[0] == 0.0f && y[1] == 1.0f));
  });
}

}  // namespace
}  // namespace sl::kernels::testing
