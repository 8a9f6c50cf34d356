#include "layers/dsp/window_function.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <numeric>
#include <string>

#include "ops/bessel.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

using std::numbers::pi;
using Parameters = std::vector<double>;

// Value i of a symmetric window of n > 1 values, as in scipy.signal.windows.
using Formula = double (*)(double i, double n, const Parameters& p);

// sum(a[k] cos(k x)), for x from -pi to pi.
double cosine_sum(double i, double n, const Parameters& a) {
  const double x = -pi + 2 * pi * i / (n - 1);
  double sum = 0;
  for (size_t k = 0; k < a.size(); ++k) sum += a[k] * std::cos(static_cast<double>(k) * x);
  return sum;
}
double general_hamming(double i, double n, const Parameters& p) {
  return cosine_sum(i, n, {p[0], 1 - p[0]});
}
double boxcar(double, double, const Parameters&) { return 1; }
double bartlett(double i, double n, const Parameters&) { return 1 - std::abs(2 * i / (n - 1) - 1); }
double triang(double i, double n, const Parameters&) {
  const double from_end = std::min(i, n - 1 - i);
  return std::fmod(n, 2) != 0 ? 2 * (from_end + 1) / (n + 1) : (2 * from_end + 1) / n;
}
double barthann(double i, double n, const Parameters&) {
  const double x = std::abs(i / (n - 1) - 0.5);
  return 0.62 - 0.48 * x + 0.38 * std::cos(2 * pi * x);
}
double parzen(double i, double n, const Parameters&) {
  const double k = i - (n - 1) / 2, x = std::abs(k) / (n / 2);
  return std::abs(k) <= (n - 1) / 4 ? 1 - 6 * x * x + 6 * x * x * x : 2 * std::pow(1 - x, 3);
}
double bohman(double i, double n, const Parameters&) {
  if (i == 0 || i == n - 1) return 0;
  const double x = std::abs(-1 + 2 * i / (n - 1));
  return (1 - x) * std::cos(pi * x) + std::sin(pi * x) / pi;
}
double cosine(double i, double n, const Parameters&) { return std::sin(pi / n * (i + 0.5)); }
double lanczos(double i, double n, const Parameters&) {
  const double x = pi * (2 * i / (n - 1) - 1);
  return x == 0 ? 1 : std::sin(x) / x;
}
double exponential(double i, double n, const Parameters& p) {
  return std::exp(-std::abs(i - (n - 1) / 2) / p[0]);
}
double gaussian(double i, double n, const Parameters& p) {
  const double x = (i - (n - 1) / 2) / p[0];
  return std::exp(-x * x / 2);
}
double general_gaussian(double i, double n, const Parameters& p) {
  return std::exp(-0.5 * std::pow(std::abs((i - (n - 1) / 2) / p[1]), 2 * p[0]));
}
double kaiser(double i, double n, const Parameters& p) {
  const double x = 2 * i / (n - 1) - 1;
  return ops::bessel_i0(p[0] * std::sqrt(std::max(0.0, 1 - x * x))) / ops::bessel_i0(p[0]);
}
double tukey(double i, double n, const Parameters& p) {
  if (p[0] <= 0) return 1;
  const double alpha = std::min(p[0], 1.0), edge = alpha * (n - 1) / 2;
  const double from_end = std::min(i, n - 1 - i);
  return from_end >= std::floor(edge) + 1 ? 1 : (1 + std::cos(pi * (from_end / edge - 1))) / 2;
}

struct NamedWindow {
  const char* name;
  Formula formula;
  // Parameters that the name fixes, or the number that a config must give (-1: any number).
  Parameters parameters;
  int given = 0;
};

const std::vector<NamedWindow>& windows() {
  static const std::vector<NamedWindow> kAll = {
      {"barthann", barthann, {}},
      {"bartlett", bartlett, {}},
      {"blackman", cosine_sum, {0.42, 0.50, 0.08}},
      {"blackmanharris", cosine_sum, {0.35875, 0.48829, 0.14128, 0.01168}},
      {"bohman", bohman, {}},
      {"boxcar", boxcar, {}},
      {"cosine", cosine, {}},
      {"exponential", exponential, {1}},
      {"flattop", cosine_sum, {0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368}},
      {"gaussian", gaussian, {}, 1},
      {"general_cosine", cosine_sum, {}, -1},
      {"general_gaussian", general_gaussian, {}, 2},
      {"general_hamming", general_hamming, {}, 1},
      {"hamming", general_hamming, {0.54}},
      {"hann", general_hamming, {0.5}},
      {"kaiser", kaiser, {}, 1},
      {"lanczos", lanczos, {}},
      {"nuttall", cosine_sum, {0.3635819, 0.4891775, 0.1365995, 0.0106411}},
      {"parzen", parzen, {}},
      {"triang", triang, {}},
      {"tukey", tukey, {0.5}},
  };
  return kAll;
}

// The windows "hann" and "hamming" of the reference: a - (1 - a) cos(2 pi i / n). NumPy rounds
// every operation to float16, but not to bfloat16.
WindowFunction raised_cosine(double a, bool periodic) {
  return [a, periodic](int64_t length, DType dtype) {
    const auto rounded = [dtype](double value) {
      if (dtype != DType::kFloat16) return value;
      auto out = static_cast<float>(value);
      ops::round_to(dtype, &out, 1);
      return static_cast<double>(out);
    };
    std::vector<double> out(static_cast<size_t>(length), 1.0);
    const bool even = length % 2 == 0;
    const double n = rounded(static_cast<double>(length + (periodic && even ? 1 : 0) - 1));
    const double turn = rounded(2 * pi), offset = rounded(a), depth = rounded(1 - a);
    for (size_t i = 0; length > 1 && i < out.size(); ++i) {
      const double angle = rounded(rounded(turn * rounded(static_cast<double>(i))) / n);
      out[i] = rounded(offset - rounded(depth * rounded(std::cos(angle))));
    }
    return out;
  };
}

// Reads the window function in one field.
class Reader {
 public:
  Reader(const Config& config, const char* field) : config_(config), field_(field) {}

  WindowFunction read(const Json& value) const {
    if (value.is_string()) return own_or_named(value.get<std::string>(), true);
    if (!value.is_object() || !value.contains("function") || !value["function"].is_string()) {
      error(fmt::format("expected the name of a window or {{\"function\": name, ...}}, got {}",
                        excerpt(value)));
    }
    const auto name = value["function"].get<std::string>();
    if (name == "inverse_stft") return inverse(value);
    allow(value, name == "get" ? std::vector<std::string>{"function", "periodic", "args"}
                               : std::vector<std::string>{"function", "periodic"});
    const bool periodic = read_periodic(value);
    return name == "get" ? get(value, periodic) : own_or_named(name, periodic);
  }

 private:
  [[noreturn]] void error(std::string_view message) const { config_.error(field_, message); }

  void allow(const Json& value, const std::vector<std::string>& keys) const {
    for (const auto& item : value.items()) {
      if (std::ranges::find(keys, item.key()) == keys.end()) {
        error(fmt::format("{} takes no parameter \"{}\": {}", excerpt(value["function"]),
                          item.key(), excerpt(item.value())));
      }
    }
  }
  bool read_periodic(const Json& value) const {
    if (!value.contains("periodic")) return true;
    if (!value["periodic"].is_boolean()) error("expected true or false as \"periodic\"");
    return value["periodic"].get<bool>();
  }

  WindowFunction own_or_named(const std::string& name, bool periodic) const {
    if (name == "hann") return raised_cosine(0.5, periodic);
    if (name == "hamming") return raised_cosine(0.54, periodic);
    return named(name, periodic);
  }

  // Reads signal.get_window: a name, a list of a name and its parameters, or the beta of a Kaiser
  // window.
  WindowFunction get(const Json& value, bool periodic) const {
    const bool is_given =
        value.contains("args") && value["args"].is_array() && value["args"].size() == 1;
    if (!is_given) error("expected the window's name as \"args\": [name]");
    const Json* name = &value["args"][0];
    if (name->is_string()) return named(name->get<std::string>(), periodic);
    if (name->is_number()) return named("kaiser", periodic, {name->get<double>()});
    if (!name->is_array() || name->empty() || !(*name)[0].is_string()) {
      error(fmt::format("expected a window's name, alone or with its parameters in a list, got {}",
                        excerpt(*name)));
    }
    Parameters parameters;
    for (size_t i = 1; i < name->size(); ++i) append((*name)[i], parameters);
    return named((*name)[0].get<std::string>(), periodic, parameters);
  }
  void append(const Json& value, Parameters& out) const {
    if (value.is_null()) return;  // keep the parameter's default
    if (value.is_array()) {
      for (const Json& item : value) append(item, out);
    } else if (const auto number = to_number(value)) {
      out.push_back(*number);
    } else {
      error(fmt::format("expected a number, got {}", excerpt(value)));
    }
  }

  WindowFunction named(const std::string& name, bool periodic, Parameters parameters = {}) const {
    const auto it = std::ranges::find(windows(), name, &NamedWindow::name);
    if (it == windows().end()) {
      std::vector<std::string> names = window_names();
      names.insert(names.begin(), {"get", "inverse_stft"});
      const std::string near = nearest_name(name, names);
      error(fmt::format("unknown window \"{}\"{}", name,
                        near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
    }
    if (parameters.empty()) parameters = it->parameters;
    const size_t minimum = it->given < 0 ? 1 : static_cast<size_t>(it->given);
    const bool fixed = it->given == 0;
    if (parameters.size() < minimum || (it->given > 0 && parameters.size() != minimum) ||
        (fixed && parameters.size() != it->parameters.size())) {
      error(fmt::format("window \"{}\": expected {} parameter(s), got {}", name,
                        fixed ? it->parameters.size() : minimum, parameters.size()));
    }
    return [formula = it->formula, parameters, periodic](int64_t length, DType dtype) {
      // As in the reference, only even lengths can be periodic.
      const bool one_more = periodic && length % 2 == 0;
      const double n = static_cast<double>(length + (one_more ? 1 : 0));
      std::vector<double> out(static_cast<size_t>(length), 1.0);
      for (size_t i = 0; length > 1 && i < out.size(); ++i) {
        out[i] = formula(static_cast<double>(i), n, parameters);
        if (is_integer(dtype)) out[i] = std::trunc(out[i]);
      }
      return out;
    };
  }

  // Reads signal.inverse_stft_window_fn: the window with which InverseSTFT inverts an STFT of that
  // step.
  WindowFunction inverse(const Json& value) const {
    allow(value, {"function", "frame_step", "forward_window_fn"});
    const bool has_step = value.contains("frame_step") && value["frame_step"].is_number_integer();
    const int64_t step = has_step ? value["frame_step"].get<int64_t>() : 0;
    if (step < 1) error("expected the STFT's \"frame_step\", an integer of at least 1");
    const WindowFunction forward =
        value.contains("forward_window_fn") ? read(value["forward_window_fn"]) : read("hann");
    return [forward, step](int64_t length, DType dtype) {
      const std::vector<double> window = forward(length, dtype);
      std::vector<double> out(window.size());
      const auto hop = static_cast<size_t>(step);
      std::vector<double> squares(std::min(hop, window.size()));
      for (size_t i = 0; i < window.size(); ++i) squares[i % hop] += window[i] * window[i];
      for (size_t i = 0; i < out.size(); ++i) {
        if (squares[i % hop] != 0) out[i] = window[i] / squares[i % hop];
      }
      return out;
    };
  }

  const Config& config_;
  const char* field_;
};

}  // namespace

std::vector<std::string> window_names() {
  std::vector<std::string> names;
  for (const NamedWindow& window : windows()) names.emplace_back(window.name);
  return names;
}

WindowFunction read_window(Config& config, const char* field, bool allow_none) {
  config.note(field, allow_none ? "window or null" : "window", "\"hann\"");
  if (!config.has(field)) {
    return Reader(config, field).read("hann");
  }
  const Json* value = config.raw(field);
  if (value && !value->is_null()) return Reader(config, field).read(*value);
  if (!allow_none) config.error(field, "expected a window, got null");
  return {};
}

}  // namespace sl
