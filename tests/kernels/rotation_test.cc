#include "kernels/rotation.h"

#include <catch2/catch.hpp>
#include <limits>

#include "kernel_testing.h"

namespace sl::kernels::testing {
namespace {

TEST_CASE("sines and cosines are within 2e-7, however large the angle", "[kernels][rotation]") {
  for_each_target([](const std::string& target) {
    for (const float largest : {1.0f, 10.0f, 1e3f, 1e5f, 1.6e6f, 1e9f, 3e38f}) {
      const std::vector<float> x = random_floats(20011, -largest, largest, 3);
      const auto n = static_cast<int64_t>(x.size());
      std::vector<float> sine(x.size()), cosine(x.size()), want_sine(x.size()),
          want_cosine(x.size());
      sin_cos(x.data(), sine.data(), cosine.data(), n);
      reference::sin_cos(x.data(), want_sine.data(), want_cosine.data(), n);
      for (size_t i = 0; i < x.size(); ++i) {
        if (close(sine[i], want_sine[i], 0.0, 2e-7) &&
            close(cosine[i], want_cosine[i], 0.0, 2e-7)) {
          continue;
        }
        INFO(target << " at " << x[i]);
        REQUIRE(sine[i] == want_sine[i]);
        REQUIRE(cosine[i] == want_cosine[i]);
      }
    }
  });
}

TEST_CASE("multiples of a quarter turn give zeros and ones", "[kernels][rotation]") {
  for_each_target([](const std::string& target) {
    for (int i = -9; i <= 9; ++i) {
      INFO(target << " " << i);
      const float x = static_cast<float>(i * 1.57079632679489661923);
      float sine = 0, cosine = 0;
      sin_cos(&x, &sine, &cosine, 1);
      CHECK(close(sine, std::sin(static_cast<double>(x)), 0.0, 1e-7));
      CHECK(close(cosine, std::cos(static_cast<double>(x)), 0.0, 1e-7));
    }
    const float x[] = {0.0f, -0.0f, std::numeric_limits<float>::infinity(),
                       std::numeric_limits<float>::quiet_NaN()};
    float sine[4], cosine[4];
    sin_cos(x, sine, cosine, 4);
    CHECK(sine[0] == 0.0f);
    CHECK(cosine[1] == 1.0f);
    for (int i = 2; i < 4; ++i) CHECK((std::isnan(sine[i]) && std::isnan(cosine[i])));
  });
}

TEST_CASE("rotations of any length agree with the reference", "[kernels][rotation]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : sizes()) {
      INFO(target << " n=" << n);
      const std::vector<float> a = random_floats(n, -3.0f, 3.0f, 1);
      const std::vector<float> b = random_floats(n, -3.0f, 3.0f, 2);
      const std::vector<float> angles = random_floats(n, -9.0f, 9.0f, 3);
      Guarded<float> sine(n, 1), cosine(n, 2), ya(n, 3), yb(n, 0), want_a(n, 0), want_b(n, 0);
      sin_cos(angles.data(), sine.data(), cosine.data(), n);
      rotate(a.data(), b.data(), sine.data(), cosine.data(), ya.data(), yb.data(), n);
      reference::rotate(a.data(), b.data(), sine.data(), cosine.data(), want_a.data(),
                        want_b.data(), n);
      CHECK((sine.intact() && cosine.intact() && ya.intact() && yb.intact()));
      for (int64_t i = 0; i < n; ++i) {
        CHECK(close(ya[i], want_a[i], 1e-6, 1e-6));
        CHECK(close(yb[i], want_b[i], 1e-6, 1e-6));
      }
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
