#include "testing/compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace sl::testing {
namespace {

std::string number_text(std::complex<double> value, sl_dtype dtype) {
  char text[80];
  if (dtype == SL_DTYPE_COMPLEX64) {
    std::snprintf(text, sizeof(text), "%.7g%+.7gi", value.real(), value.imag());
  } else {
    std::snprintf(text, sizeof(text), "%.7g", value.real());
  }
  return text;
}

std::string index_text(int64_t index, const std::vector<int64_t>& dims) {
  std::vector<int64_t> position(dims.size());
  for (size_t axis = dims.size(); axis-- > 0;) {
    position[axis] = index % dims[axis];
    index /= dims[axis];
  }
  return shape_text(position);
}

bool close(double got, double want, Tolerance tolerance) {
  if (std::isnan(got) || std::isnan(want)) return std::isnan(got) && std::isnan(want);
  if (got == want) return true;
  if (std::isinf(got) || std::isinf(want)) return false;
  return std::fabs(got - want) <= tolerance.absolute + tolerance.relative * std::fabs(want);
}

// Equal infinities, or NaN on both sides, differ by 0; any other pair with one of them differs by
// infinity.
double difference(std::complex<double> got, std::complex<double> want) {
  auto part = [](double a, double b) {
    if (a == b || (std::isnan(a) && std::isnan(b))) return 0.0;
    const double d = std::fabs(a - b);
    return std::isnan(d) ? INFINITY : d;
  };
  return std::max(part(got.real(), want.real()), part(got.imag(), want.imag()));
}

std::string compare_specs(const Tensor& got, const Tensor& want, bool equal_time) {
  if (got.dtype != want.dtype) {
    return std::string("dtype ") + sl_dtype_name(got.dtype) + ", want " + sl_dtype_name(want.dtype);
  }
  std::vector<int64_t> a = got.dims, b = want.dims;
  if (!equal_time && a.size() > 1 && b.size() > 1) a[1] = b[1] = 0;
  if (a != b) return "shape " + shape_text(got.dims) + ", want " + shape_text(want.dims);
  return "";
}

std::string compare_masks(const Tensor& got, const Tensor& want) {
  const int64_t time = std::max(got.time(), want.time());
  for (int64_t b = 0; b < got.batch(); ++b) {
    for (int64_t t = 0; t < time; ++t) {
      const bool g = t < got.time() && got.valid(b, t);
      const bool w = t < want.time() && want.valid(b, t);
      if (g != w) {
        return "mask at " + shape_text({b, t}) +
               (g ? " valid, want invalid" : " invalid, want valid") +
               (got.time() != want.time() ? " (lengths " + std::to_string(got.time()) + ", " +
                                                std::to_string(want.time()) + ")"
                                          : "");
      }
    }
  }
  return "";
}

// Compares element i of got with element j of want, and remembers the first difference.
class Comparer {
 public:
  Comparer(const Tensor& got, const Tensor& want, Tolerance tolerance)
      : got_(got), want_(want), tolerance_(tolerance) {
    if (!is_floating(got.dtype)) tolerance_ = {0, 0};
  }

  void compare(int64_t i, int64_t j) {
    const std::complex<double> g = got_.at(i), w = want_.at(j);
    ++compared_;
    largest_ = std::max(largest_, difference(g, w));
    if (close(g.real(), w.real(), tolerance_) && close(g.imag(), w.imag(), tolerance_)) return;
    if (differing_++ == 0) {
      first_ = "at " + index_text(i, got_.dims) + " got " + number_text(g, got_.dtype) + ", want " +
               number_text(w, want_.dtype);
    }
  }

  Comparison result() const {
    if (differing_ == 0) return {"", largest_};
    char largest[32];
    std::snprintf(largest, sizeof(largest), "%.3g", largest_);
    return {first_ + " (" + std::to_string(differing_) + " of " + std::to_string(compared_) +
                " values differ, by at most " + largest + ")",
            largest_};
  }

 private:
  const Tensor& got_;
  const Tensor& want_;
  Tolerance tolerance_;
  std::string first_;
  double largest_ = 0;
  int64_t compared_ = 0, differing_ = 0;
};

}  // namespace

Comparison compare_sequences(const Tensor& got, const Tensor& want, Tolerance tolerance) {
  if (std::string reason = compare_specs(got, want, false); !reason.empty()) return {reason};
  Comparer comparer(got, want, tolerance);
  const int64_t n = got.step_size();
  for (int64_t b = 0; b < got.batch(); ++b) {
    for (int64_t t = 0; t < std::min(got.time(), want.time()); ++t) {
      if (!got.valid(b, t) || !want.valid(b, t)) continue;
      for (int64_t c = 0; c < n; ++c) {
        comparer.compare((b * got.time() + t) * n + c, (b * want.time() + t) * n + c);
      }
    }
  }
  Comparison result = comparer.result();
  if (std::string mask = compare_masks(got, want); !mask.empty()) {
    result.reason = mask + (result.ok() ? "" : "; " + result.reason);
  }
  return result;
}

Comparison compare_tensors(const Tensor& got, const Tensor& want, Tolerance tolerance) {
  if (std::string reason = compare_specs(got, want, true); !reason.empty()) return {reason};
  if (got.is_array != want.is_array) {
    return {got.is_array ? "an array, want a sequence" : "a sequence, want an array"};
  }
  if (!got.is_array) return compare_sequences(got, want, tolerance);
  Comparer comparer(got, want, tolerance);
  for (int64_t i = 0; i < got.size(); ++i) comparer.compare(i, i);
  return comparer.result();
}

Comparison compare_bits(const Tensor& got, const Tensor& want) {
  if (std::string reason = compare_specs(got, want, true); !reason.empty()) return {reason};
  if (std::string mask = compare_masks(got, want); !mask.empty()) return {mask};
  const size_t n = got.step_bytes();
  for (int64_t b = 0; b < got.batch(); ++b) {
    for (int64_t t = 0; t < got.time(); ++t) {
      const size_t offset = static_cast<size_t>(b * got.time() + t) * n;
      if (!got.valid(b, t) ||
          std::memcmp(got.bytes.data() + offset, want.bytes.data() + offset, n) == 0) {
        continue;
      }
      Comparison exact = compare_sequences(got, want, {0, 0});
      if (exact.ok()) exact.reason = "different bits at " + shape_text({b, t});
      return exact;
    }
  }
  return {};
}

}  // namespace sl::testing
