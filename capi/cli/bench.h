// What the measurements of `sl bench` share.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_BENCH_H_
#define SEQUENCE_LAYERS_CAPI_CLI_BENCH_H_

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "cli/input.h"
#include "cli/json_output.h"
#include "cli/model_option.h"
#include "cli/profile.h"

namespace sl::cli {

struct BenchOptions {
  ModelOption model;
  InputOptions input;
  int64_t batch = 1;
  int64_t blocks = 1;
  double seconds = 2;
  int64_t time = 1000;
  int32_t threads = 1;
  int32_t step_threads = 1;
  int64_t max_length = 0;
  int64_t slots = 0;
  bool json = false;
  bool profile = false;
  std::string sort = "time";
};

double micros(std::chrono::steady_clock::duration d);
double quantile(const std::vector<double>& sorted, double q);

// The measurements, printed one by one, or as JSON at the end.
class Findings {
 public:
  explicit Findings(bool as_json) : as_json_(as_json) {}

  // Sorted times in microseconds.
  void times(const char* name, const std::vector<double>& times);
  void heap_calls(const char* name, int64_t calls, size_t runs);
  void rate(const char* name, double steps, double micros_taken, std::optional<double> sample_rate);
  // Rounds per second, in each of which every stream takes a step.
  void rounds(const char* name, double per_second);
  void profile(const char* name, ProfileTable table, const std::string& order);
  // Prints a line unless JSON is wanted.
  void say(const std::string& text) const;

  ordered_json& json() { return json_; }
  void finish() const;

 private:
  bool as_json_;
  ordered_json json_;
};

// A random input of which all steps are valid.
testing::Input valid_input(const sequence_layers::Layer& layer, const BenchOptions& options,
                           int64_t batch, int64_t time);

// Measures rounds in which as many streams as there are slots take a step each: in states of their
// own and in the slots of one state for each thread, in turns.
void bench_slots(const sequence_layers::Layer& layer, const BenchOptions& options,
                 Findings& findings);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_BENCH_H_
