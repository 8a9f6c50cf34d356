// instruction_sets: runs every recorded case with each instruction set that SL_CPU_MAX can select,
// with one and with three threads, layer-wise and in steps. All outputs must agree within 1e-6 of
// the largest value of the tensor. Each run is a process of its own, as the library reads the
// variable only once. Prints the largest difference of each run from the first one, and every
// tensor that exceeds its tolerance.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "faults/golden_cases.h"
#include "testing/model.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using nlohmann::json;

constexpr double kTolerance = 1e-6;
// Values rounded to half precision may differ by one unit of bfloat16 in the last place.
constexpr double kHalfTolerance = 1.0 / 128;

// Tolerance for models that amplify the rounding of their first operations: tanh near its pole,
// softmax of large numbers, softmax of complex numbers, whose sum can nearly vanish, and a whole
// audio encoder.
constexpr double kAmplifyingTolerance = 1e-5;
constexpr std::string_view kAmplifying[] = {"Dtypes__Conv1D47",
                                            "Dense__rows__dense_softmax_int32",
                                            "Conv2D__rows__conv2d_complex",
                                            "DotProductSelfAttention__dtypes__",
                                            "LocalDotProductSelfAttention__dtypes__",
                                            "Serial__gemma3n_audio_encoder__"};

struct Setting {
  const char* cpu_max;
  int32_t threads;
};

// ---- One run, in a child process.

double tolerance_of(const std::string& name, bool half) {
  if (half) return kHalfTolerance;
  const bool amplifies = std::ranges::any_of(
      kAmplifying, [&](std::string_view prefix) { return name.starts_with(prefix); });
  return amplifies ? kAmplifyingTolerance : kTolerance;
}

// The mask, valid values and tolerance of one tensor of a case.
json result_of(const std::string& name, const Tensor& x, bool half) {
  const bool complex = x.dtype == SL_DTYPE_COMPLEX64;
  const int64_t steps = x.is_array ? 1 : x.batch() * x.time();
  const int64_t step_size = x.is_array ? x.size() : x.step_size();
  json numbers = json::array();
  for (int64_t step = 0; step < steps; ++step) {
    const bool valid = x.is_array || x.valid(step / x.time(), step % x.time());
    numbers.push_back(valid ? 1.0 : 0.0);
    for (int64_t i = 0; valid && i < step_size; ++i) {
      const std::complex<double> value = x.at(step * step_size + i);
      numbers.push_back(value.real());
      if (complex) numbers.push_back(value.imag());
    }
  }
  const double tolerance = tolerance_of(name, half || is_half(x.dtype));
  return {{"name", name}, {"tolerance", tolerance}, {"numbers", std::move(numbers)}};
}

void run_case(const GoldenCase& golden, int32_t threads, json* results) {
  const Weights weights = select_weights(golden.tensors, golden.name + "/weights/");
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.num_threads = threads;
  const std::string config = golden.config();
  const Layer layer(config, weights, &options);
  const Case c = golden.check(&layer);
  const Input& input = c.input;
  const bool half = uses_half_precision(golden.recorded.at("config")) || is_half(input.x.dtype);
  std::vector<NamedTensor> emits;
  results->push_back(
      result_of(golden.name, apply(layer, input, c.emits.empty() ? nullptr : &emits), half));
  for (const NamedTensor& emit : emits)
    results->push_back(result_of(golden.name + " " + emit.name, emit.value, half));
  if (!layer.supports_step()) return;
  const std::string name = golden.name + " in steps";
  try {
    results->push_back(result_of(name, Stepper(layer, input).run_all(), half));
  } catch (const Error& refused) {  // the model cannot give the shape of a block, in any run
    results->push_back({{"name", name + ": " + refused.what()},
                        {"tolerance", kTolerance},
                        {"numbers", json::array()}});
  }
}

// The last word of the log message at a model's creation names its instruction set.
void keep_last_word(void* word, int32_t, const char* message) {
  const std::string text = message;
  *static_cast<std::string*>(word) = text.substr(text.rfind(' ') + 1);
}

// Writes the outputs of all cases to a file.
void run_all_cases(int32_t threads, const std::string& path) {
  std::string kernels;
  sl_log_set(keep_last_word, &kernels, SL_LOG_INFO);
  Layer(R"({"type":"Relu"})");
  sl_log_set(nullptr, nullptr, SL_LOG_OFF);
  json results = json::array();
  for_each_golden_case([&](const GoldenCase& golden) { run_case(golden, threads, &results); });
  std::ofstream file(path, std::ios::binary);
  json::to_msgpack({{"kernels", kernels}, {"tensors", std::move(results)}}, file);
  file.close();
  if (file.fail()) throw std::runtime_error("cannot write " + path);
}

// Runs fn in a child process with this value of SL_CPU_MAX. Returns whether it threw no exception.
template <typename Fn>
bool in_child(const char* cpu_max, const Fn& fn) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    setenv("SL_CPU_MAX", cpu_max, 1);
    try {
      fn();
      _exit(0);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "SL_CPU_MAX=%s: %s\n", cpu_max, error.what());
      _exit(1);
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status == 0;
}

// ---- Comparison.

// The largest difference relative to the largest value. Infinite if only one of the numbers is
// finite, or if sizes differ.
double difference(const std::vector<double>& first, const std::vector<double>& other) {
  if (first.size() != other.size()) return INFINITY;
  double largest = 0, peak = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    const double a = first[i], b = other[i];
    if (std::isfinite(a)) peak = std::max(peak, std::abs(a));
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    if (!std::isfinite(a) || !std::isfinite(b)) return INFINITY;
    largest = std::max(largest, std::abs(a - b));
  }
  return peak > 0 ? largest / peak : largest;
}

// Prints all differences, and returns whether all are within the tolerance.
bool compare(const json& first, const json& other, const Setting& setting) {
  double largest = 0;
  int64_t failed = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    const auto name = first[i].at("name").get<std::string>();
    const auto tolerance = first[i].at("tolerance").get<double>();
    const double found = i < other.size() && other[i].at("name") == name
                             ? difference(first[i].at("numbers"), other[i].at("numbers"))
                             : INFINITY;
    if (tolerance != kHalfTolerance) largest = std::max(largest, found);
    if (found <= tolerance) continue;
    ++failed;
    std::printf("%s, %d threads: %s differs by %.3g\n", setting.cpu_max, setting.threads,
                name.c_str(), found);
  }
  std::printf("%s, %d threads: %zu tensors compared, %lld differ, at most by %.3g in float32\n",
              setting.cpu_max, setting.threads, first.size(), static_cast<long long>(failed),
              largest);
  return failed == 0 && !first.empty() && first.size() == other.size();
}

// ---- Checks.

// The instruction set that the library must choose on this CPU, in this build, for a value of
// SL_CPU_MAX.
std::string expected_kernels(const std::string& cpu_max) {
#if defined(__x86_64__)
#ifdef SL_SANITIZE  // sanitizer builds have fewer kernels
  const bool sse4 = false, avx512 = false;
#else
  const bool sse4 = __builtin_cpu_supports("sse4.2"), avx512 = __builtin_cpu_supports("avx512bw") &&
                                                               __builtin_cpu_supports("avx512dq") &&
                                                               __builtin_cpu_supports("avx512vl");
#endif
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (cpu_max == "avx512" && avx512) return "avx512";
  if (cpu_max.starts_with("avx") && avx2) return "avx2";
  if (cpu_max != "scalar" && sse4) return "sse4";
#endif
  return "scalar";
}

bool check_numbers(const std::string& scratch) {
  const std::string path = scratch + "/results";
  json first;
  bool good = true;
  for (const char* cpu_max : {"scalar", "sse4", "avx2", "avx512"}) {
    for (const int32_t threads : {1, 3}) {
      if (!in_child(cpu_max, [&] { run_all_cases(threads, path); })) return false;
      std::ifstream file(path, std::ios::binary);
      const json results = json::from_msgpack(file);
      if (first.is_null()) first = results.at("tensors");
      good = compare(first, results.at("tensors"), {cpu_max, threads}) && good;
      const auto kernels = results.at("kernels").get<std::string>();
      if (kernels == expected_kernels(cpu_max)) continue;
      std::printf("SL_CPU_MAX=%s: ran on %s, expected %s\n", cpu_max, kernels.c_str(),
                  expected_kernels(cpu_max).c_str());
      good = false;
    }
  }
  return good;
}

// An unknown value of SL_CPU_MAX makes every creation fail with the known ones named; an empty one
// sets no limit.
bool check_names() {
  const auto refuses = [] {
    for (int i = 0; i < 2; ++i) {
      try {
        Layer(R"({"type":"Relu"})");
      } catch (const Error& error) {
        const std::string text = error.what();
        const bool told = text.find("SL_CPU_MAX is \"AVX\"") != std::string::npos &&
                          text.find("avx2") != std::string::npos;
        if (error.status() == SL_STATUS_INVALID_ARGUMENT && told) continue;
        throw;
      }
      throw std::runtime_error("was taken");
    }
  };
  const auto takes = [] { Layer(R"({"type":"Relu"})"); };
  return in_child("AVX", refuses) && in_child("", takes);
}

}  // namespace
}  // namespace sl::testing

int main() {
  std::string scratch = (std::filesystem::temp_directory_path() / "sl_sets_XXXXXX").string();
  const bool good =
      mkdtemp(scratch.data()) && sl::testing::check_names() && sl::testing::check_numbers(scratch);
  std::filesystem::remove_all(scratch);
  return good ? 0 : 1;
}
