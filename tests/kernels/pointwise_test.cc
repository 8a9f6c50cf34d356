#include "kernels/pointwise.h"

#include <catch2/catch.hpp>
#include <limits>

#include "kernel_testing.h"
#include "kernels/unary_functions.h"

namespace sl::kernels::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

constexpr std::pair<Binary, const char*> kBinaryFunctions[] = {
#define SL_BINARY(Name, ...) {Binary::k##Name, #Name},
#include "kernels/binary_functions.inc"
};

// The parameter with which a function is tested.
float parameter(Unary op) { return description(op).parameter.tested; }

// Arguments of both signs, from subnormal to huge, dense where the functions are curved.
std::vector<float> arguments() {
  std::vector<float> x;
  for (float v = -20.0f; v <= 20.0f; v += 0.00137f) x.push_back(v);
  for (float v = -120.0f; v <= 120.0f; v += 0.0317f) x.push_back(v);
  for (float v = 0.9f; v <= 1.1f; v += 1.7e-5f) x.push_back(v);
  for (float v = 1e-37f; v < 1e38f; v *= 1.0173f) {
    x.push_back(v);
    x.push_back(-v);
  }
  const float tiny = std::numeric_limits<float>::denorm_min();
  for (const float v : {0.0f, tiny, 1e-40f, 3.4e38f, kInf}) {
    x.push_back(v);
    x.push_back(-v);
  }
  x.push_back(kNan);
  return x;
}

// Returns 0 for absolute errors below the smallest normal float.
double relative_error(float actual, double expected) {
  const double error = std::abs(actual - expected);
  return error <= std::numeric_limits<float>::min() ? 0.0 : error / std::abs(expected);
}

TEST_CASE("unary ops are within 2e-6 of double precision", "[kernels][pointwise]") {
  const std::vector<float> x = arguments();
  std::vector<float> y(x.size());
  for_each_target([&](const std::string& target) {
    for (const auto& [op, name, function, tested] : kUnaryFunctions) {
      const float a = parameter(op);
      unary(op, x.data(), y.data(), static_cast<int64_t>(x.size()), a);
      double worst = 0.0;
      float worst_x = 0.0f;
      for (size_t j = 0; j < x.size(); ++j) {
        const double want = reference::unary_value(op, x[j], static_cast<double>(a));
        const double rounded = static_cast<float>(want);
        double error = 0.0;
        if (std::isfinite(rounded) && std::isfinite(y[j])) {
          error = relative_error(y[j], want);
        } else if (!close(y[j], rounded, 0.0, 0.0)) {
          error = 1.0;
        }
        if (error > worst) {
          worst = error;
          worst_x = x[j];
        }
      }
      INFO(target << " " << name << " x=" << worst_x << " error " << worst);
      CHECK(worst <= 2e-6);
    }
  });
}

TEST_CASE("unary ops give the jax result at special values", "[kernels][pointwise]") {
  struct Case {
    Unary op;
    float x;
    float want;
  };
  const std::vector<Case> cases = {
      {Unary::kExp, -kInf, 0.0f},
      {Unary::kExp, kInf, kInf},
      {Unary::kExp, 0.0f, 1.0f},
      {Unary::kLog, 0.0f, -kInf},
      {Unary::kLog, -0.0f, -kInf},
      {Unary::kLog, -1.0f, kNan},
      {Unary::kLog, kInf, kInf},
      {Unary::kLog, 1.0f, 0.0f},
      {Unary::kTanh, kInf, 1.0f},
      {Unary::kTanh, -kInf, -1.0f},
      {Unary::kSigmoid, -kInf, 0.0f},
      {Unary::kSigmoid, kInf, 1.0f},
      {Unary::kSigmoid, 0.0f, 0.5f},
      {Unary::kRelu, -kInf, 0.0f},
      {Unary::kElu, -kInf, -1.3f},
      {Unary::kSoftplus, kInf, kInf},
      {Unary::kSoftplus, -kInf, 0.0f},
      {Unary::kSwish, -kInf, kNan},
      {Unary::kSwish, kInf, kInf},
      {Unary::kGeluErf, -kInf, kNan},
      {Unary::kGeluErf, kInf, kInf},
      {Unary::kGeluTanh, -kInf, kNan},
      {Unary::kGeluTanh, kInf, kInf},
      {Unary::kSoftSign, kInf, kNan},
      {Unary::kLogSigmoid, -kInf, -kInf},
      {Unary::kHardSwish, -kInf, kNan},
      {Unary::kSqrt, -1.0f, kNan},
      {Unary::kMish, -kInf, kNan},
      {Unary::kSquareplus, -kInf, kNan},
      {Unary::kSquareplus, 1e30f, 1e30f},
      {Unary::kSparsePlus, -1.0f, 0.0f},
      {Unary::kSparsePlus, 0.0f, 0.25f},
      {Unary::kSparsePlus, -kInf, 0.0f},
      {Unary::kSparsePlus, kInf, kInf},
      {Unary::kSparseSigmoid, 0.5f, 0.75f},
      {Unary::kSparseSigmoid, -kInf, 0.0f},
      {Unary::kSparseSigmoid, kNan, kNan},
      {Unary::kLog1mExp, 0.0f, -kInf},
      {Unary::kLog1mExp, -1.0f, kNan},
      {Unary::kLog1mExp, kInf, 0.0f},
  };
  for_each_target([&](const std::string& target) {
    for (const Case& c : cases) {
      float y = 0.0f;
      unary(c.op, &c.x, &y, 1, parameter(c.op));
      INFO(target << " " << description(c.op).name << " x=" << c.x << " y=" << y);
      CHECK(close(y, c.want, 0.0, 0.0));
    }
    float y = -1.0f;
    const float negative_zero = -0.0f;
    unary(Unary::kRelu, &negative_zero, &y, 1, 0.0f);
    CHECK(same_bits(y, 0.0f));
  });
}

TEST_CASE("unary ops do not depend on position, size or aliasing", "[kernels][pointwise]") {
  for_each_target([](const std::string& target) {
    for (const auto& [op, name, function, tested] : kUnaryFunctions) {
      INFO(target << " " << name);
      for (const int64_t n : sizes()) {
        const int64_t offset = n % 5;
        const std::vector<float> x = random_floats(n, 0.1f, 4.0f);
        Guarded<float> y(n, offset);
        unary(op, x.data(), y.data(), n, parameter(op));
        bool good = y.intact();
        Guarded<float> in_place(n, offset + 1);
        std::copy(x.begin(), x.end(), in_place.data());
        unary(op, in_place.data(), in_place.data(), n, parameter(op));
        good = good && in_place.intact();
        for (int64_t j = 0; j < n; ++j) {
          float one = 0.0f;
          unary(op, &x[static_cast<size_t>(j)], &one, 1, parameter(op));
          good = good && same_bits(one, y[j]) && same_bits(one, in_place[j]);
        }
        CHECK(good);
      }
    }
  });
}

TEST_CASE("unary ops pass NaN on, and to no other element", "[kernels][pointwise]") {
  for_each_target([](const std::string& target) {
    for (const auto& [op, name, function, tested] : kUnaryFunctions) {
      INFO(target << " " << name);
      for (const int64_t position : {0, 5, 18}) {
        std::vector<float> x(19, op == Unary::kAcosh ? 1.5f : 0.5f);
        x[static_cast<size_t>(position)] = position == 5 ? -kNan : kNan;
        std::vector<float> y(19);
        unary(op, x.data(), y.data(), 19, parameter(op));
        for (int64_t j = 0; j < 19; ++j) {
          CHECK(std::isnan(y[static_cast<size_t>(j)]) == (j == position));
        }
      }
    }
  });
}

TEST_CASE("power has exact special cases", "[kernels][pointwise]") {
  const std::vector<float> x = {0.0f, 0.3f, 1.7f, 3.3f, 1e10f};
  std::vector<float> y(x.size());
  for (const float exponent : {-1.0f, 0.0f, 0.5f, 1.0f, 2.0f, 2.5f}) {
    unary(Unary::kPower, x.data(), y.data(), static_cast<int64_t>(x.size()), exponent);
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = std::pow(static_cast<double>(x[i]), exponent);
      CHECK(close(y[i], static_cast<float>(want), 1e-7, 0.0));
    }
  }
}

TEST_CASE("binary ops agree with the reference bit for bit", "[kernels][pointwise]") {
  const std::vector<float> special = {0.0f, -0.0f, 1.0f, -2.0f, kInf, -kInf, kNan, 1e-40f, 3e38f};
  for_each_target([&](const std::string& target) {
    for (const auto& [op, name] : kBinaryFunctions) {
      INFO(target << " " << name);
      for (const int64_t n : sizes()) {
        std::vector<float> a = random_floats(n, -3.0f, 3.0f, 1);
        std::vector<float> b = random_floats(n, -3.0f, 3.0f, 2);
        for (size_t j = 0; j < std::min<size_t>(a.size(), 81); ++j) {
          a[j] = special[j % 9];
          b[j] = special[j / 9];
        }
        std::vector<float> expected(a.size());
        Guarded<float> y(n, n % 7);
        const auto same = [](float u, float v) {
          return std::isnan(u) ? std::isnan(v) : same_bits(u, v);
        };
        reference::binary(op, a.data(), b.data(), expected.data(), n);
        binary(op, a.data(), b.data(), y.data(), n);
        CHECK(std::equal(expected.begin(), expected.end(), y.data(), same));
        for (const float scalar : {1.5f, -0.0f, kNan}) {
          reference::binary_scalar(op, a.data(), scalar, expected.data(), n);
          binary_scalar(op, a.data(), scalar, y.data(), n);
          CHECK(std::equal(expected.begin(), expected.end(), y.data(), same));
        }
        CHECK(y.intact());
      }
    }
  });
}

TEST_CASE("axpy agrees with the reference", "[kernels][pointwise]") {
  for_each_target([](const std::string& target) {
    for (const int64_t n : sizes()) {
      INFO(target << " n=" << n);
      const std::vector<float> x = random_floats(n, -3.0f, 3.0f, 1);
      std::vector<float> expected = random_floats(n, -3.0f, 3.0f, 2);
      Guarded<float> y(n, n % 7);
      std::copy(expected.begin(), expected.end(), y.data());
      reference::axpy(-0.37f, x.data(), expected.data(), n);
      axpy(-0.37f, x.data(), y.data(), n);
      for (int64_t i = 0; i < n; ++i) {
        CHECK(close(y[i], expected[static_cast<size_t>(i)], 1e-6, 1e-6));
      }
      CHECK(y.intact());
    }
  });
}

}  // namespace
}  // namespace sl::kernels::testing
