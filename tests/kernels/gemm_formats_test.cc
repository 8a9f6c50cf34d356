// Products with weights in bfloat16, int8 and int4.
#define HWY_WANT_AVX3_DL

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "kernel_testing.h"
#include "kernels/convert.h"
#include "kernels/gemm.h"
#include "kernels/gemm_bf16.h"
#include "kernels/gemm_quantized.h"

namespace sl::kernels::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

enum class Format { kBFloat16, kInt8, kInt4 };
constexpr Format kFormats[] = {Format::kBFloat16, Format::kInt8, Format::kInt4};
enum class Start { kZero, kBias, kAccumulate };

Quantized quantized(Format format) {
  return format == Format::kInt8 ? Quantized::kInt8 : Quantized::kInt4;
}

// Packed weights, at an address that is a multiple of 64.
class Packed {
 public:
  Packed(Format format, const std::vector<float>& w, int64_t k, int64_t n)
      : format_(format), k_(k) {
    bytes_.resize(static_cast<size_t>(size(n)) + 64);
    if (format == Format::kBFloat16) {
      pack_bf16(w.data(), n, 1, k, n, data());
    } else {
      pack_quantized(quantized(format), w.data(), n, 1, k, n, data());
    }
  }

  int64_t size(int64_t n) const {
    return format_ == Format::kBFloat16 ? packed_bf16_bytes(k_, n)
                                        : packed_quantized_bytes(quantized(format_), k_, n);
  }

  char* data() {
    return reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(bytes_.data()) + 63) / 64 * 64);
  }

  std::vector<float> column(int64_t j) {
    std::vector<float> out(static_cast<size_t>(k_) + 1);
    if (format_ == Format::kBFloat16) {
      unpack_bf16_column(data(), k_, j, out.data());
    } else {
      unpack_quantized_column(quantized(format_), data(), k_, j, out.data());
    }
    return out;
  }

 private:
  Format format_;
  int64_t k_;
  std::vector<char> bytes_;
};

struct Problem {
  int64_t m;
  int64_t k;
  int64_t n;
  int64_t x_stride;
  int64_t y_stride;
};

// Runs the product of the columns from `begin`, a multiple of 16.
void product(Format format, const Problem& p, const float* x, Packed* packed, int64_t begin,
             const float* bias, bool accumulate, float* y) {
  const char* w = packed->data() + packed->size(begin);
  if (format == Format::kBFloat16) {
    gemm_bf16(x, p.x_stride, w, p.m, p.k, p.n - begin, bias, accumulate, y, p.y_stride);
    return;
  }
  gemm_quantized(quantized(format), x, p.x_stride, w, p.m, p.k, p.n - begin, bias, accumulate, y,
                 p.y_stride);
}

// The values that the kernel sees of a row of x.
std::vector<double> seen_values(Format format, const float* x, int64_t k) {
  std::vector<double> out(x, x + k);
  if (format == Format::kBFloat16) return out;
  for (int64_t begin = 0; begin < k; begin += kQuantizedGroup) {
    const int64_t end = std::min(k, begin + kQuantizedGroup);
    double largest = 0;
    for (int64_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(double{x[i]}));
    // Computed like the kernel's, since a value half way between integers may go either way.
    const float inverse = 127.0f / static_cast<float>(largest);
    for (int64_t i = begin; i < end; ++i) {
      const double q = largest < 1e-36 ? 0 : std::nearbyint(x[i] * inverse);
      out[static_cast<size_t>(i)] = q * (largest / 127);
    }
  }
  return out;
}

void check(Format format, const Problem& p, Start start) {
  INFO("format=" << static_cast<int>(format) << " m=" << p.m << " k=" << p.k << " n=" << p.n
                 << " x_stride=" << p.x_stride << " start=" << static_cast<int>(start));
  const std::vector<float> x = random_floats((p.m - 1) * p.x_stride + p.k, -1.0f, 1.0f, 1);
  const std::vector<float> bias = random_floats(p.n, -1.0f, 1.0f, 3);
  Packed packed(format, random_floats(p.k * p.n, -1.0f, 1.0f, 2), p.k, p.n);
  Guarded<float> y(p.m * p.y_stride, 1);
  const std::vector<float> before = random_floats(p.m * p.y_stride, -1.0f, 1.0f, 4);
  std::copy(before.begin(), before.end(), y.data());
  product(format, p, x.data(), &packed, 0, start == Start::kBias ? bias.data() : nullptr,
          start == Start::kAccumulate, y.data());
  std::vector<std::vector<float>> columns;
  for (int64_t j = 0; j < p.n; ++j) columns.push_back(packed.column(j));
  bool good = true;
  for (int64_t i = 0; i < p.m; ++i) {
    const std::vector<double> row = seen_values(format, x.data() + i * p.x_stride, p.k);
    for (int64_t j = 0; j < p.y_stride; ++j) {
      const auto at = static_cast<size_t>(i * p.y_stride + j);
      if (j >= p.n) {
        good = good && same_bits(y[i * p.y_stride + j], before[at]);
        continue;
      }
      double want = start == Start::kAccumulate ? before[at] : 0;
      if (start == Start::kBias) want = bias[static_cast<size_t>(j)];
      for (size_t q = 0; q < row.size(); ++q) want += row[q] * columns[static_cast<size_t>(j)][q];
      good = good && close(y[i * p.y_stride + j], want, 1e-5,
                           1e-6 * (1 + std::sqrt(static_cast<double>(p.k))));
    }
  }
  CHECK(good);
  CHECK(y.intact());
}

void for_each_format(const std::function<void(Format)>& body) {
  for_each_target([&](const std::string& target) {
    INFO(target);
    for (const Format format : kFormats) body(format);
  });
}

TEST_CASE("matrices that were rounded before are packed as if rounded here", "[kernels][gemm]") {
  for (const Quantized type : {Quantized::kInt8, Quantized::kInt4}) {
    for (const int64_t k : {1, 32, 75}) {
      for (const int64_t n : {1, 16, 37}) {
        INFO("k=" << k << " n=" << n);
        const std::vector<float> w = random_floats(k * n, -2.0f, 2.0f, 6);
        const auto size = static_cast<size_t>(packed_quantized_bytes(type, k, n));
        std::vector<std::byte> want(size), got(size);
        pack_quantized(type, w.data(), n, 1, k, n, want.data());
        std::vector<float> scales(static_cast<size_t>(quantized_groups(k) * n));
        for (int64_t p = 0; p < k; p += kQuantizedGroup) {
          quantized_scales(type, w.data() + p * n, n, std::min(kQuantizedGroup, k - p), n,
                           scales.data() + p / kQuantizedGroup * n);
        }
        std::vector<int8_t> integers(static_cast<size_t>(k * n));
        std::vector<float> column(static_cast<size_t>(k));
        for (int64_t j = 0; j < n; ++j) {
          unpack_quantized_column(type, want.data(), k, j, column.data());
          for (int64_t p = 0; p < k; ++p) {
            integers[static_cast<size_t>(p * n + j)] = static_cast<int8_t>(
                std::lround(column[static_cast<size_t>(p)] /
                            scales[static_cast<size_t>(p / kQuantizedGroup * n + j)]));
          }
        }
        pack_rounded(type, scales.data(), integers.data(), k, n, got.data());
        CHECK(got == want);
      }
    }
  }
}

TEST_CASE("products with packed formats are those of the packed values", "[kernels][formats]") {
  for_each_format([](Format format) {
    for (const int64_t m : {1, 2, 3, 5, 6, 7, 12, 13, 25}) {
      for (const int64_t k : {1, 2, 31, 32, 33, 64, 65, 97}) {
        for (const int64_t n : {1, 15, 16, 17, 33, 64, 65, 130}) {
          check(format, {m, k, n, k, n}, Start::kBias);
        }
      }
    }
    check(format, {2, 0, 20, 0, 20}, Start::kBias);
  });
}

TEST_CASE("products with packed formats handle strides and every start value",
          "[kernels][formats]") {
  for_each_format([](Format format) {
    for (const Start start : {Start::kZero, Start::kBias, Start::kAccumulate}) {
      for (const int64_t m : {1, 4, 20, 100}) {
        for (const int64_t n : {3, 16, 40, 150}) {
          check(format, {m, 40, n, 8, n + 5}, start);  // overlapping windows
          check(format, {m, 96, n, 32, n}, start);     // windows of whole groups
          check(format, {m, 40, n, 0, n}, start);
          check(format, {m, 40, n, 47, n + 1}, start);
        }
      }
      check(format, {101, 700, 50, 700, 50}, start);
      check(format, {1, 1025, 301, 1025, 301}, start);
      check(format, {1, 30000, 20, 30000, 20}, start);
      check(format, {97, 1600, 20, 32, 20}, start);
    }
  });
}

// Also the same bits on all instruction sets with fused multiply-add.
TEST_CASE("packed formats give a row the same bits in any batch and group of columns",
          "[kernels][formats]") {
  const int64_t rows = 103, k = 300;
  const std::vector<float> x = random_floats(rows * k, -1.0f, 1.0f, 1);
  for (const Format format : kFormats) {
    for (const int64_t n : {5, 16, 50, 64, 215}) {
      Packed packed(format, random_floats(k * n, -1, 1, 2), k, n);
      std::vector<float> first;
      for_each_target([&](const std::string& target) {
        INFO(target << " format=" << static_cast<int>(format) << " n=" << n);
        std::vector<float> all(static_cast<size_t>(rows * n));
        product(format, {rows, k, n, k, n}, x.data(), &packed, 0, nullptr, false, all.data());
        for (int64_t m = 1; m <= 13; ++m) {
          std::vector<float> some(static_cast<size_t>(m * n));
          product(format, {m, k, n, k, n}, x.data() + 7 * k, &packed, 0, nullptr, false,
                  some.data());
          CHECK(std::equal(some.begin(), some.end(), all.begin() + 7 * n, same_bits));
          for (int64_t begin = 16; begin < n; begin += 48) {
            std::vector<float> part = some;
            product(format, {m, k, n, k, n}, x.data() + 7 * k, &packed, begin, nullptr, false,
                    part.data() + begin);
            CHECK(std::equal(part.begin(), part.end(), some.begin(), same_bits));
          }
        }
        // There is no bfloat16 kernel for VNNI alone: the portable one runs.
        if (target.starts_with("AVX") && (format != Format::kBFloat16 || target != "AVX3_DL")) {
          if (first.empty()) first = all;
          CHECK(std::equal(first.begin(), first.end(), all.begin(), same_bits));
        }
      });
    }
  }
}

TEST_CASE("rows that are quantized before give the same bits, also summed over matrices",
          "[kernels][formats]") {
  // Rows overlap, as the windows of a convolution do; there are more than are multiplied at a time.
  const int64_t k = 96, step = 64, matrices = 3, pitch_floats = 2 * step;
  for (const Format format : {Format::kInt8, Format::kInt4}) {
    for (const int64_t rows : {1, 5, 59}) {
      for (const int64_t n : {50, 128}) {
        const std::vector<float> x =
            random_floats((rows - 1) * step + (matrices - 1) * pitch_floats + k, -1.0f, 1.0f, 1);
        const std::vector<float> bias = random_floats(n, -1.0f, 1.0f, 3);
        const int64_t size = packed_quantized_bytes(quantized(format), k, n), pitch = size + 64;
        std::vector<char> memory(static_cast<size_t>(matrices * pitch + 64));
        char* const first = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
        for (int64_t i = 0; i < matrices; ++i) {
          Packed one(format, random_floats(k * n, -1, 1, 2 + static_cast<uint32_t>(i)), k, n);
          std::copy_n(one.data(), size, first + i * pitch);
        }
        for_each_target([&](const std::string& target) {
          INFO(target << " format=" << static_cast<int>(format) << " rows=" << rows << " n=" << n);
          std::vector<std::byte> quantized_x(x.size() / kQuantizedGroup *
                                             static_cast<size_t>(quantized_group_bytes()));
          quantize_row(x.data(), std::ssize(x), quantized_x.data());
          std::vector<int64_t> offsets;
          std::vector<float> want(static_cast<size_t>(rows * n)), got(want.size());
          for (int64_t i = 0; i < matrices; ++i) {
            offsets.push_back(i * pitch_floats / kQuantizedGroup);
            gemm_quantized(quantized(format), x.data() + i * pitch_floats, step, first + i * pitch,
                           rows, k, n, bias.data(), i > 0, want.data(), n);
            std::ranges::fill(got, 0.5f);
            gemm_quantized_rows(quantized(format), quantized_x.data(), step / kQuantizedGroup,
                                offsets, first, pitch, rows, k, n, bias.data(), false, got.data(),
                                n);
            CHECK(want[7] != 0);
            CHECK(std::equal(got.begin(), got.end(), want.begin(), same_bits));
          }
          gemm_quantized(quantized(format), x.data(), step, first, rows, k, n, nullptr, true,
                         want.data(), n);
          gemm_quantized_rows(quantized(format), quantized_x.data(), step / kQuantizedGroup,
                              std::span(offsets).first(1), first, pitch, rows, k, n, nullptr, true,
                              got.data(), n);
          CHECK(std::equal(got.begin(), got.end(), want.begin(), same_bits));
        });
      }
    }
  }
}

TEST_CASE("a row is quantized like each of its groups", "[kernels][formats]") {
  const int64_t groups = 13;
  std::vector<float> x = random_floats(groups * kQuantizedGroup, -3.0f, 3.0f, 1);
  const auto at = [&](int64_t group, int64_t i) -> float& {
    return x[static_cast<size_t>(group * kQuantizedGroup + i)];
  };
  at(5, 31) = std::numeric_limits<float>::quiet_NaN();
  at(9, 0) = std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < kQuantizedGroup; ++i) at(2, i) *= 1e-37f;
  for (int64_t i = 0; i < kQuantizedGroup; ++i) at(10, i) = 0;
  for (int64_t i = 0; i < kQuantizedGroup; ++i) at(0, i) = std::ldexp(at(0, i), 20);
  for_each_target([&](const std::string& target) {
    INFO(target);
    const auto bytes = static_cast<size_t>(quantized_group_bytes());
    std::vector<std::byte> row(static_cast<size_t>(groups) * bytes), group(bytes);
    quantize_row(x.data(), std::ssize(x), row.data());
    for (int64_t i = 0; i < groups; ++i) {
      INFO("group " << i);
      quantize_row(&at(i, 0), kQuantizedGroup, group.data());
      CHECK(std::memcmp(row.data() + static_cast<size_t>(i) * bytes, group.data(), bytes) == 0);
    }
  });
}

TEST_CASE("bfloat16 weights give the results of float32 weights with these values",
          "[kernels][formats]") {
  for_each_target([](const std::string& target) {
    INFO(target);
    const int64_t m = 5, k = 128, n = 256;
    std::vector<float> w = random_floats(k * n, -1, 1, 2);
    round_to_bf16(w.data(), k * n);
    const std::vector<float> x = random_floats(m * k, -1, 1, 1);
    Packed packed(Format::kBFloat16, w, k, n);
    for (int64_t j = 0; j < n; j += 37) {
      const std::vector<float> column = packed.column(j);
      for (int64_t p = 0; p < k; ++p)
        REQUIRE(column[static_cast<size_t>(p)] == w[static_cast<size_t>(p * n + j)]);
    }
    std::vector<float> y(static_cast<size_t>(m * n)), floats(y.size());
    product(Format::kBFloat16, {m, k, n, k, n}, x.data(), &packed, 0, nullptr, false, y.data());
    std::vector<float> panels(static_cast<size_t>(packed_size(k, n)));
    pack(w.data(), n, 1, k, n, panels.data());
    gemm_packed(x.data(), k, panels.data(), m, k, n, nullptr, false, floats.data(), n);
    for (size_t i = 0; i < y.size(); ++i) REQUIRE(close(y[i], floats[i], 1e-5, 1e-6));
  });
}

TEST_CASE("packed formats keep NaN and infinity within their row and column",
          "[kernels][formats]") {
  for_each_format([](Format format) {
    const int64_t k = 70;
    for (const int64_t m : {2, 9, 30}) {
      for (const int64_t n : {7, 50, 128}) {
        for (const float bad : {kNan, kInfinity, -kInfinity}) {
          INFO("format=" << static_cast<int>(format) << " m=" << m << " n=" << n << " " << bad);
          std::vector<float> x = random_floats(m * k, -1.0f, 1.0f, 1);
          std::vector<float> w = random_floats(k * n, 0.5f, 1.0f, 2);
          x[static_cast<size_t>(k + 40)] = bad;
          w[static_cast<size_t>(3 * n + 2)] = bad;
          Packed packed(format, w, k, n);
          std::vector<float> y(static_cast<size_t>(m * n), 0.0f);
          product(format, {m, k, n, k, n}, x.data(), &packed, 0, nullptr, false, y.data());
          bool good = true;
          for (int64_t i = 0; i < m * n; ++i) {
            good = good && std::isfinite(y[static_cast<size_t>(i)]) == (i / n != 1 && i % n != 2);
          }
          CHECK(good);
        }
      }
    }
  });
}

TEST_CASE("packed formats take tiny and huge values", "[kernels][formats]") {
  for_each_format([](Format format) {
    const int64_t k = 64, n = 20;
    for (const float magnitude : {0.0f, 1e-45f, 1e-40f, 1e-37f, 1e-30f, 1e30f, 1e37f}) {
      INFO("format=" << static_cast<int>(format) << " magnitude=" << magnitude);
      std::vector<float> small = random_floats(k * n, -1.0f, 1.0f, 1);
      for (float& v : small) v *= magnitude;
      std::vector<float> ones(static_cast<size_t>(k * n), 0.5f);
      const float tolerance = 0.14f * magnitude;  // a step of int4 for positive values
      Packed weights(format, small, k, n);        // tiny or huge weights
      for (int64_t j = 0; j < n; ++j) {
        const std::vector<float> column = weights.column(j);
        for (int64_t p = 0; p < k; ++p) {
          const float want = small[static_cast<size_t>(p * n + j)];
          REQUIRE(std::abs(column[static_cast<size_t>(p)] - want) <= tolerance + 2e-36f);
        }
      }
      Packed halves(format, ones, k, n);  // tiny or huge activations
      std::vector<float> y(static_cast<size_t>(n), 1.0f);
      product(format, {1, k, n, k, n}, small.data(), &halves, 0, nullptr, false, y.data());
      double want = 0;
      for (int64_t p = 0; p < k; ++p) want += 0.5 * small[static_cast<size_t>(p)];
      for (const float v : y) CHECK(std::abs(v - want) <= 0.5 * double{tolerance} + 1e-34);
    }
  });
}

TEST_CASE("errors of quantized weights are those of their number of bits", "[kernels][formats]") {
  const int64_t k = 512, n = 64;
  const std::vector<float> w = random_floats(k * n, -1.0f, 1.0f, 2);
  const auto noise = [&](Format format) {
    Packed packed(format, w, k, n);
    double error = 0, power = 0;
    for (int64_t j = 0; j < n; ++j) {
      const std::vector<float> column = packed.column(j);
      for (int64_t p = 0; p < k; ++p) {
        const double want = w[static_cast<size_t>(p * n + j)];
        error += std::pow(column[static_cast<size_t>(p)] - want, 2);
        power += want * want;
      }
    }
    return 10 * std::log10(power / error);
  };
  // Steps of 2 / 255 of uniform values give 20 log10(255) dB or 48.1 dB, and of 2 / 16 give 24.1
  // dB.
  CHECK(noise(Format::kBFloat16) > 50);
  CHECK(noise(Format::kInt8) > 47.5);
  CHECK(noise(Format::kInt4) > 23.5);
  Packed int8(Format::kInt8, w, k, n), int4(Format::kInt4, w, k, n);
  CHECK(int8.size(n) == k * n * 17 / 16);
  CHECK(int4.size(n) == k * n * 9 / 16);
}

}  // namespace
}  // namespace sl::kernels::testing
