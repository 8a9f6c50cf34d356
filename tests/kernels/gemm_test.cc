#include "kernels/gemm.h"

#include <catch2/catch.hpp>
#include <limits>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

enum class Start { kZero, kBias, kAccumulate };

struct Problem {
  int64_t m;
  int64_t k;
  int64_t n;
  int64_t x_stride;
  int64_t y_stride;
  int64_t offset;
};

std::vector<float> packed_weights(const std::vector<float>& w, int64_t k, int64_t n) {
  std::vector<float> packed(static_cast<size_t>(packed_size(k, n)));
  pack(w.data(), n, 1, k, n, packed.data());
  return packed;
}

// Number of floats in x. The last row ends after k floats, so that a sanitizer detects reads beyond
// it.
int64_t x_size(const Problem& p) { return p.m > 0 ? (p.m - 1) * p.x_stride + p.k : 0; }

void check(const Problem& p, Start start) {
  INFO("m=" << p.m << " k=" << p.k << " n=" << p.n << " x_stride=" << p.x_stride
            << " start=" << static_cast<int>(start));
  const std::vector<float> x = random_floats(x_size(p), -1.0f, 1.0f, 1);
  const std::vector<float> w = random_floats(p.k * p.n, -1.0f, 1.0f, 2);
  const std::vector<float> bias = random_floats(p.n, -1.0f, 1.0f, 3);
  const std::vector<float> packed = packed_weights(w, p.k, p.n);
  const float* b = start == Start::kBias ? bias.data() : nullptr;
  const bool accumulate = start == Start::kAccumulate;
  Guarded<float> y(p.m * p.y_stride, p.offset);
  std::vector<float> expected = random_floats(p.m * p.y_stride, -1.0f, 1.0f, 4);
  std::copy(expected.begin(), expected.end(), y.data());
  reference::gemm(x.data(), p.x_stride, w.data(), p.m, p.k, p.n, b, accumulate, expected.data(),
                  p.y_stride);
  gemm_packed(x.data(), p.x_stride, packed.data(), p.m, p.k, p.n, b, accumulate, y.data(),
              p.y_stride);
  bool good = true;
  for (int64_t i = 0; i < p.m * p.y_stride; ++i) {
    const float want = expected[static_cast<size_t>(i)];
    // The gaps between rows of y must not change.
    const bool inside = i % p.y_stride < p.n;
    good = good && (inside ? close(y[i], want, 1e-5, 1e-6 * (1.0 + std::sqrt(p.k)))
                           : same_bits(y[i], want));
  }
  CHECK(good);
  CHECK(y.intact());
}

TEST_CASE("gemm_packed agrees with the reference at every shape", "[kernels][gemm]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const int64_t m : {0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 25}) {
      for (const int64_t k : {0, 1, 2, 3, 7, 64, 65}) {
        for (const int64_t n : {0, 1, 5, 15, 16, 17, 33, 48, 64, 65, 130, 200, 257}) {
          check({m, k, n, k, n, 0}, Start::kBias);
        }
      }
    }
  });
}

TEST_CASE("gemm_packed handles strides, offsets and every start value", "[kernels][gemm]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const Start start : {Start::kZero, Start::kBias, Start::kAccumulate}) {
      for (const int64_t m : {1, 3, 6, 20, 100}) {
        for (const int64_t n : {3, 16, 40, 150, 256}) {
          check({m, 24, n, 24, n, 1}, start);
          check({m, 24, n, 8, n + 5, 3}, start);  // overlapping windows
          check({m, 24, n, 0, n, 7}, start);      // one row, repeated by a stride of 0
          check({m, 24, n, 31, n + 1, 2}, start);
        }
      }
    }
  });
}

TEST_CASE("gemm_packed handles several depth and row blocks", "[kernels][gemm]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    for (const Start start : {Start::kZero, Start::kBias, Start::kAccumulate}) {
      check({101, 700, 150, 700, 150, 1}, start);
      check({1, 1025, 301, 1025, 301, 1}, start);
    }
  });
}

TEST_CASE("gemm_packed gives a row the same bits in any batch", "[kernels][gemm]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    const int64_t rows = 103;
    const int64_t k = 600;
    for (const int64_t n : {5, 16, 50, 64, 128, 215}) {
      INFO("n=" << n);
      const std::vector<float> x = random_floats(rows * k, -1.0f, 1.0f, 1);
      const std::vector<float> bias = random_floats(n, -1.0f, 1.0f, 3);
      const std::vector<float> packed = packed_weights(random_floats(k * n, -1, 1, 2), k, n);
      std::vector<float> all(static_cast<size_t>(rows * n));
      gemm_packed(x.data(), k, packed.data(), rows, k, n, bias.data(), false, all.data(), n);
      for (int64_t m = 1; m <= 13; ++m) {
        std::vector<float> some(static_cast<size_t>(m * n));
        gemm_packed(x.data() + 7 * k, k, packed.data(), m, k, n, bias.data(), false, some.data(),
                    n);
        CHECK(std::equal(some.begin(), some.end(), all.begin() + 7 * n, same_bits));
      }
    }
  });
}

TEST_CASE("parts of columns are of equal size, and have the bits of the whole", "[kernels][gemm]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    const int64_t k = 300, group = column_group();
    for (const int64_t n : {5, 64, 65, 502, 512, 1031}) {
      const std::vector<float> x = random_floats(k, -1.0f, 1.0f, 1);
      const std::vector<float> packed = packed_weights(random_floats(k * n, -1, 1, 2), k, n);
      std::vector<float> whole(static_cast<size_t>(n)), made(whole.size());
      gemm_packed(x.data(), k, packed.data(), 1, k, n, nullptr, false, whole.data(), n);
      CHECK(column_groups(n) * group >= n);
      CHECK(column_groups(n) * group < n + group);
      for (int64_t parts = 1; parts <= std::min<int64_t>(column_groups(n), 5); ++parts) {
        INFO("n=" << n << ", " << parts << " parts");
        const int64_t mean = column_groups(n) / parts;
        for (int64_t part = 0; part < parts; ++part) {
          const int64_t begin = part_column(n, part, parts), end = part_column(n, part + 1, parts);
          CHECK(begin % group == 0);
          CHECK(end - begin > (mean - 1) * group);
          CHECK(end - begin <= (mean + 1) * group);
          gemm_packed(x.data(), k, packed.data() + begin * k, 1, k, end - begin, nullptr, false,
                      made.data() + begin, n);
        }
        CHECK(part_column(n, 0, parts) == 0);
        CHECK(part_column(n, parts, parts) == n);
        CHECK(std::equal(made.begin(), made.end(), whole.begin(), same_bits));
      }
    }
  });
}

TEST_CASE("gemm_packed keeps NaN within its row", "[kernels][gemm]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    const int64_t k = 40;
    for (const int64_t m : {2, 6, 9, 30}) {
      for (const int64_t n : {7, 50, 128}) {
        std::vector<float> x = random_floats(m * k, -1.0f, 1.0f, 1);
        x[static_cast<size_t>(k + 3)] = kNan;
        const std::vector<float> packed = packed_weights(random_floats(k * n, -1, 1, 2), k, n);
        std::vector<float> y(static_cast<size_t>(m * n), 0.0f);
        gemm_packed(x.data(), k, packed.data(), m, k, n, nullptr, false, y.data(), n);
        bool good = true;
        for (int64_t i = 0; i < m * n; ++i) {
          good = good && std::isnan(y[static_cast<size_t>(i)]) == (i / n == 1);
        }
        CHECK(good);
      }
    }
  });
}

TEST_CASE("gemm_packed does not read y unless it accumulates", "[kernels][gemm]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    const std::vector<float> packed = packed_weights(random_floats(300 * 70, -1, 1), 300, 70);
    const std::vector<float> x = random_floats(20 * 300, -1, 1);
    std::vector<float> y(20 * 70, kNan);
    gemm_packed(x.data(), 300, packed.data(), 20, 300, 70, nullptr, false, y.data(), 70);
    CHECK(std::none_of(y.begin(), y.end(), [](float v) { return std::isnan(v); }));
  });
}

TEST_CASE("pack takes any strides and pads with zeros", "[kernels][gemm]") {
  const int64_t k = 5;
  const int64_t n = panel_width() + 3;
  const std::vector<float> w = random_floats(k * n, -1.0f, 1.0f);
  std::vector<float> transposed(w.size());
  for (int64_t p = 0; p < k; ++p) {
    for (int64_t j = 0; j < n; ++j) {
      transposed[static_cast<size_t>(j * k + p)] = w[static_cast<size_t>(p * n + j)];
    }
  }
  Guarded<float> packed(packed_size(k, n), 0);
  pack(transposed.data(), 1, k, k, n, packed.data());
  CHECK(packed.intact());
  CHECK(packed_size(k, n) == 2 * k * panel_width());
  for (int64_t p = 0; p < k; ++p) {
    for (int64_t j = 0; j < 2 * panel_width(); ++j) {
      const int64_t panel = j / panel_width();
      const float want = j < n ? w[static_cast<size_t>(p * n + j)] : 0.0f;
      CHECK(packed[(panel * k + p) * panel_width() + j % panel_width()] == want);
    }
  }
}

}  // namespace
}  // namespace sl::kernels::testing
