#include "kernels/convert.h"

#include <catch2/catch.hpp>
#include <limits>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

// Floats of every exponent, with fractions around the points where rounding to 7 or 10 bits
// changes.
std::vector<float> arguments() {
  std::vector<float> x;
  for (uint32_t exponent = 0; exponent < 512; ++exponent) {
    for (const uint32_t cut : {13u, 16u}) {
      for (uint32_t upper = 0; upper < 8; ++upper) {
        const uint32_t high = upper < 4 ? upper : ((1u << (23 - cut)) - 8 + upper);
        for (const uint32_t low : {0u, 1u, (1u << (cut - 1)) - 1, 1u << (cut - 1),
                                   (1u << (cut - 1)) + 1, (1u << cut) - 1}) {
          const uint32_t bits = exponent << 23 | high << cut | low;
          float value;
          std::memcpy(&value, &bits, sizeof value);
          x.push_back(value);
        }
      }
    }
    for (uint32_t shift = 0; shift < 23; ++shift) {  // rounding points of subnormal results
      const uint32_t bits = exponent << 23 | (0x2AAAAAu << shift & 0x7FFFFFu);
      float value;
      std::memcpy(&value, &bits, sizeof value);
      x.push_back(value);
    }
  }
  return x;
}

bool same_or_nan(float a, float b) { return std::isnan(a) ? std::isnan(b) : same_bits(a, b); }

using Widen = void (*)(const uint16_t*, float*, int64_t);
using Narrow = void (*)(const float*, uint16_t*, int64_t);
using Round = void (*)(float*, int64_t);

struct Format {
  Widen widen;
  Narrow narrow;
  Round round;
  float (*reference_widen)(uint16_t);
  uint16_t (*reference_narrow)(float);
};

const std::vector<Format>& formats() {
  static const std::vector<Format> kList = {
      {bf16_to_f32, f32_to_bf16, round_to_bf16, reference::bf16_to_f32, reference::f32_to_bf16},
      {f16_to_f32, f32_to_f16, round_to_f16, reference::f16_to_f32, reference::f32_to_f16}};
  return kList;
}

TEST_CASE("widening is exact for every 16-bit value", "[kernels][convert]") {
  std::vector<uint16_t> x(65536);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint16_t>(i);
  for_each_target([&](const std::string& target) {
    INFO(target);
    for (const Format& format : formats()) {
      std::vector<float> y(x.size());
      format.widen(x.data(), y.data(), 65536);
      bool good = true;
      for (size_t i = 0; i < x.size(); ++i) {
        good = good && same_or_nan(y[i], format.reference_widen(x[i]));
      }
      CHECK(good);
      // Narrowing the widened values gives the original ones.
      std::vector<uint16_t> back(x.size());
      format.narrow(y.data(), back.data(), 65536);
      for (size_t i = 0; i < x.size(); ++i) good = good && (back[i] == x[i] || std::isnan(y[i]));
      CHECK(good);
    }
  });
}

TEST_CASE("narrowing rounds to nearest even", "[kernels][convert]") {
  const std::vector<float> x = arguments();
  const auto n = static_cast<int64_t>(x.size());
  for_each_target([&](const std::string& target) {
    INFO(target);
    for (const Format& format : formats()) {
      std::vector<uint16_t> y(x.size());
      format.narrow(x.data(), y.data(), n);
      std::vector<float> rounded = x;
      format.round(rounded.data(), n);
      size_t wrong = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const float want = format.reference_widen(format.reference_narrow(x[i]));
        const bool good = same_or_nan(format.reference_widen(y[i]), want) &&
                          same_or_nan(rounded[i], want) && std::isnan(x[i]) == std::isnan(want);
        if (!good) ++wrong;
      }
      CHECK(wrong == 0);
    }
  });
}

TEST_CASE("known float16 and bfloat16 codes", "[kernels][convert]") {
  CHECK(reference::f32_to_f16(65504.0f) == 0x7BFF);
  CHECK(reference::f32_to_f16(65519.99f) == 0x7BFF);
  CHECK(reference::f32_to_f16(65520.0f) == 0x7C00);
  CHECK(reference::f32_to_f16(0x1p-24f) == 0x0001);
  CHECK(reference::f32_to_f16(0x1p-25f) == 0x0000);
  CHECK(reference::f32_to_f16(-1.0f) == 0xBC00);
  CHECK(reference::f32_to_bf16(1.0f) == 0x3F80);
  CHECK(reference::f32_to_bf16(1.00390625f) == 0x3F80);  // a tie, rounded to even
  CHECK(reference::f32_to_bf16(1.01171875f) == 0x3F82);  // a tie, rounded to even
  CHECK(reference::f32_to_bf16(3.4e38f) == 0x7F80);
}

TEST_CASE("conversions stay within their arrays", "[kernels][convert]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : sizes()) {
      INFO(target << " n=" << n);
      for (const Format& format : formats()) {
        const std::vector<float> x = random_floats(n, -4.0f, 4.0f);
        Guarded<uint16_t> narrow(n, n % 3);
        format.narrow(x.data(), narrow.data(), n);
        Guarded<float> wide(n, n % 5);
        format.widen(narrow.data(), wide.data(), n);
        Guarded<float> rounded(n, n % 7);
        std::copy(x.begin(), x.end(), rounded.data());
        format.round(rounded.data(), n);
        CHECK((narrow.intact() && wide.intact() && rounded.intact()));
        bool good = true;
        for (int64_t i = 0; i < n; ++i) {
          good = good && narrow[i] == format.reference_narrow(x[static_cast<size_t>(i)]) &&
                 same_bits(wide[i], rounded[i]);
        }
        CHECK(good);
      }
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
