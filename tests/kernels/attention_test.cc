#include "kernels/attention.h"

#include <catch2/catch.hpp>
#include <limits>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST_CASE("attention_scores agrees with the reference", "[kernels][attention]") {
  for_each_target([](const std::string& target) {
    for (const int64_t width : {16, 48, 64, 80}) {
      for (const int64_t queries : {1, 2, 3, 4, 5, 6, 7, 13}) {
        for (const int64_t keys : {0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 31}) {
          INFO(target << " width=" << width << " queries=" << queries << " keys=" << keys);
          const int64_t q_stride = width + 3, k_stride = width + 5, s_stride = keys + 2;
          const std::vector<float> q = random_floats(queries * q_stride, -1.0f, 1.0f, 1);
          const std::vector<float> k = random_floats(keys * k_stride, -1.0f, 1.0f, 2);
          std::vector<float> want(static_cast<size_t>(queries * s_stride), -7.0f);
          Guarded<float> got(queries * s_stride, keys % 3);
          std::copy(want.begin(), want.end(), got.data());
          const Rows q_rows{q.data(), q_stride, queries}, k_rows{k.data(), k_stride, keys};
          reference::attention_scores(q_rows, k_rows, width, want.data(), s_stride);
          attention_scores(q_rows, k_rows, width, got.data(), s_stride);
          for (int64_t i = 0; i < queries * s_stride; ++i) {
            CHECK(close(got[i], want[static_cast<size_t>(i)], 1e-5, 1e-5));
          }
          CHECK(got.intact());
        }
      }
    }
  });
}

TEST_CASE("attention_values agrees with the reference", "[kernels][attention]") {
  for_each_target([](const std::string& target) {
    for (const int64_t width : {16, 48, 64, 80, 144}) {
      for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 13, 25}) {
        for (const int64_t keys : {0, 1, 5, 64}) {
          INFO(target << " width=" << width << " rows=" << rows << " keys=" << keys);
          const int64_t v_stride = width + 1, p_stride = keys + 3, o_stride = width + 2;
          const std::vector<float> p = random_floats(rows * p_stride, 0.0f, 1.0f, 1);
          const std::vector<float> v = random_floats(keys * v_stride, -1.0f, 1.0f, 2);
          const std::vector<float> scale = random_floats(rows, 0.0f, 1.0f, 3);
          std::vector<float> want = random_floats(rows * o_stride, -1.0f, 1.0f, 4);
          Guarded<float> got(rows * o_stride, rows % 5);
          std::copy(want.begin(), want.end(), got.data());
          const Rows p_rows{p.data(), p_stride, rows}, v_rows{v.data(), v_stride, keys};
          reference::attention_values(p_rows, scale.data(), v_rows, width, want.data(), o_stride);
          attention_values(p_rows, scale.data(), v_rows, width, got.data(), o_stride);
          for (int64_t i = 0; i < rows * o_stride; ++i) {
            CHECK(close(got[i], want[static_cast<size_t>(i)], 1e-5, 1e-5));
          }
          CHECK(got.intact());
        }
      }
    }
  });
}

TEST_CASE("online_softmax agrees with the reference over parts", "[kernels][attention]") {
  for_each_target([](const std::string& target) {
    for (const float range : {1.0f, 30.0f, 200.0f}) {
      for (const int64_t n : sizes()) {
        for (const bool masked : {false, true}) {
          INFO(target << " n=" << n << " range=" << range << " masked=" << masked);
          float largest = -kInfinity, total = 0, want_largest = -kInfinity, want_total = 0;
          for (uint32_t part = 0; part < 3; ++part) {
            std::vector<float> want = random_floats(n, -range, range, part);
            std::vector<uint8_t> valid(want.size());
            // The first part has no valid score.
            for (size_t j = 0; j < valid.size(); ++j) valid[j] = part > 0 && j % 3 != part;
            Guarded<float> got(n, n % 3);
            std::copy(want.begin(), want.end(), got.data());
            const uint8_t* mask = masked ? valid.data() : nullptr;
            const float want_scale =
                reference::online_softmax(want.data(), mask, n, &want_largest, &want_total);
            const float scale = online_softmax(got.data(), mask, n, &largest, &total);
            CHECK(close(scale, want_scale, 1e-5, 1e-30));
            CHECK(largest == want_largest);
            CHECK(close(total, want_total, 1e-5, 0));
            for (int64_t j = 0; j < n; ++j) {
              CHECK(close(got[j], want[static_cast<size_t>(j)], 2e-6, 1e-37));
            }
            CHECK(got.intact());
          }
        }
      }
    }
  });
}

TEST_CASE("online_softmax ignores invalid scores, and passes NaN on", "[kernels][attention]") {
  for_each_target([](const std::string& target) {
    for (int64_t bad = 0; bad < 19; ++bad) {
      INFO(target << " bad=" << bad);
      std::vector<float> s = random_floats(19, -1.0f, 1.0f);
      std::vector<uint8_t> valid(s.size(), 1);
      s[static_cast<size_t>(bad)] = std::numeric_limits<float>::quiet_NaN();
      std::vector<float> copy = s;
      float largest = -kInfinity, total = 0;
      (void)online_softmax(copy.data(), valid.data(), 19, &largest, &total);
      CHECK(std::isnan(total));
      float alone = std::numeric_limits<float>::quiet_NaN();
      largest = -kInfinity, total = 0;
      (void)online_softmax(&alone, nullptr, 1, &largest, &total);
      CHECK(std::isnan(total));
      valid[static_cast<size_t>(bad)] = 0;
      largest = -kInfinity, total = 0;
      (void)online_softmax(s.data(), valid.data(), 19, &largest, &total);
      CHECK(total > 1.0f);
      CHECK(s[static_cast<size_t>(bad)] == 0.0f);
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
