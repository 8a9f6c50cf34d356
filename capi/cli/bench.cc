// sl bench: measures steps and whole sequences.
#include "cli/bench.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "testing/trap.h"

namespace sl::cli {
using sequence_layers::check;
using sequence_layers::Layer;
using sequence_layers::State;
using testing::AllocationTrap;
using testing::Input;
using testing::Model;
using testing::Tensor;
using Clock = std::chrono::steady_clock;

double micros(Clock::duration d) { return std::chrono::duration<double, std::micro>(d).count(); }

double quantile(const std::vector<double>& sorted, double q) {
  return sorted[std::min(sorted.size() - 1,
                         static_cast<size_t>(q * static_cast<double>(sorted.size())))];
}

void Findings::times(const char* name, const std::vector<double>& times) {
  const double median = quantile(times, 0.5), p99 = quantile(times, 0.99);
  json_[name] = {
      {"median_us", median}, {"p99_us", p99}, {"max_us", times.back()}, {"runs", times.size()}};
  if (as_json_) return;
  std::string label = name;
  std::ranges::replace(label, '_', ' ');
  std::printf("%-14s median %10.2f us   p99 %10.2f us   max %10.2f us   (%zu runs)\n",
              label.c_str(), median, p99, times.back(), times.size());
}

void Findings::heap_calls(const char* name, int64_t calls, size_t runs) {
  json_[name]["heap_calls"] = calls;
  if (as_json_) return;
  std::printf("%-14s %lld in %zu steps\n", "heap calls", static_cast<long long>(calls), runs);
}

void Findings::rate(const char* name, double steps, double micros_taken,
                    std::optional<double> sample_rate) {
  const double per_second = steps / micros_taken * 1e6;
  json_[name]["input_steps_per_second"] = per_second;
  if (sample_rate) json_[name]["times_real_time"] = per_second / *sample_rate;
  if (as_json_) return;
  std::printf("%-14s %.0f input steps/s", "", per_second);
  if (sample_rate) std::printf(", %.1f x real time", per_second / *sample_rate);
  std::printf("\n");
}

void Findings::rounds(const char* name, double per_second) {
  json_[name]["rounds_per_second"] = per_second;
  if (!as_json_) std::printf("%-14s %.1f rounds/s\n", "", per_second);
}

void Findings::profile(const char* name, ProfileTable table, const std::string& order) {
  table.sort(order);
  json_["profile"][name] = table.json();
  if (!as_json_) table.print(name);
}

void Findings::say(const std::string& text) const {
  if (!as_json_) std::printf("%s\n", text.c_str());
}

void Findings::finish() const {
  if (as_json_) print_json(json_);
}

Input valid_input(const Layer& layer, const BenchOptions& options, int64_t batch, int64_t time) {
  Input input = random_input(layer, options.input, batch, time);
  std::fill(input.x.mask.begin(), input.x.mask.end(), static_cast<uint8_t>(1));
  return input;
}

namespace {

// Runs call() until the time is up, at least three times, each followed by after(), which is not
// measured. Returns the sorted times in microseconds.
template <typename Call, typename After>
std::vector<double> measure_with_clock(double seconds, Call&& call, After&& after) {
  std::vector<double> times;
  times.reserve(1 << 22);  // so that recording a time does not allocate
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while ((Clock::now() < end && times.size() < times.capacity()) || times.size() < 3) {
    const auto start = Clock::now();
    call();
    times.push_back(micros(Clock::now() - start));
    after();
  }
  std::sort(times.begin(), times.end());
  return times;
}

// As measure_with_clock, less the time that reading the clock takes, which is considerable beside a
// short step.
template <typename Call, typename After>
std::vector<double> measure(double seconds, Call&& call, After&& after) {
  const double clock = quantile(measure_with_clock(
                                    0.01, [] {}, [] {}),
                                0.5);
  std::vector<double> times = measure_with_clock(seconds, call, after);
  for (double& time : times) time = std::max(0.0, time - clock);
  return times;
}

template <typename Call>
std::vector<double> measure(double seconds, Call&& call) {
  return measure(seconds, call, [] {});
}

Layer open_layer(const BenchOptions& options) {
  sl_layer_options layer_options = options.model.layer_options();
  layer_options.num_threads = options.threads;
  layer_options.num_step_threads = options.step_threads;
  return Layer::open(options.model.directory, &layer_options);
}

void bench_steps(const Layer& layer, const BenchOptions& options, std::optional<double> sample_rate,
                 Findings& findings) {
  const int64_t steps = layer.block_size() * options.blocks;
  const Input input = valid_input(layer, options, options.batch, steps);
  const std::vector<sl_constant> constants = views(input.constants);
  sl_state_options state_options =
      sequence_layers::state_options(channel_spec(input.x), options.batch, steps, constants);
  state_options.max_length = options.max_length;
  findings.times("state_alloc", measure(0.1, [&] { State(layer, state_options); }));
  State state(layer, state_options);

  sl_run_options run = sequence_layers::run_options(constants);
  const sl_sequence x = input.x.view();
  const Tensor output = testing::make_like(layer.output_shape(x, SL_MODE_STEP, &run));
  sl_sequence y = output.view();
  int64_t heap_calls = 0;
  const auto step = [&] {
    const AllocationTrap trap;
    check([&](sl_error* e) { return state.step(x, &y, &run, e); });
    heap_calls += trap.count();
  };
  // The stream is reset when it reaches its maximum length.
  int64_t length = 0;
  const auto go_on = [&] {
    length += steps;
    if (options.max_length == 0 || length + steps <= options.max_length) return;
    state.reset();
    length = 0;
  };
  const std::vector<double> times = measure(options.seconds, step, go_on);
  findings.times("step", times);
  if (AllocationTrap::available()) {
    findings.heap_calls("step", heap_calls, times.size());
  }
  findings.rate("step", static_cast<double>(steps), quantile(times, 0.5), sample_rate);
  if (!options.profile) return;
  const auto recorded = [&](sl_profile* profile) {
    go_on();
    run.profile = profile;
    check([&](sl_error* e) { return state.step(x, &y, &run, e); });
  };
  findings.profile("step", profile(options.seconds, recorded), options.sort);
}

void bench_layer(const Layer& layer, const BenchOptions& options, std::optional<double> sample_rate,
                 Findings& findings) {
  const int64_t block = layer.block_size();
  const int64_t time = (options.time + block - 1) / block * block;
  const Input input = valid_input(layer, options, options.batch, time);
  const std::vector<sl_constant> constants = views(input.constants);
  sl_run_options run = sequence_layers::run_options(constants);
  const sl_sequence x = input.x.view();
  const Tensor output = testing::make_like(layer.output_shape(x, SL_MODE_LAYER, &run));
  sl_sequence y = output.view();
  const std::vector<double> times = measure(options.seconds, [&] { layer.apply(x, &y, &run); });
  findings.times("layer", times);
  findings.rate("layer", static_cast<double>(time), quantile(times, 0.5), sample_rate);
  if (!options.profile) return;
  const auto recorded = [&](sl_profile* profile) {
    run.profile = profile;
    layer.apply(x, &y, &run);
  };
  findings.profile("layer", profile(options.seconds, recorded), options.sort);
}

int run_bench(const BenchOptions& options) {
  const Model model = options.model.open();
  const Layer layer = open_layer(options);
  const auto rate = model.sample_rate();
  const int64_t block = layer.block_size();
  const int64_t step = block * options.blocks;
  const int64_t time = (options.time + block - 1) / block * block;
  Findings findings(options.json);
  findings.json() = {{"model", options.model.directory}, {"batch", options.batch},
                     {"step_input_steps", step},         {"layer_input_steps", time},
                     {"layer_threads", options.threads}, {"step_threads", options.step_threads},
                     {"sample_rate", json_of(rate)}};
  if (options.slots > 0) {
    bench_slots(layer, options, findings);
    findings.finish();
    return 0;
  }
  findings.times("create", measure(0.1, [&] { return open_layer(options); }));
  if (layer.supports_step() || options.max_length > 0) {
    bench_steps(layer, options, rate, findings);
  } else {
    findings.json()["step"] = nullptr;
    findings.say("step           not supported, or only with --max-length");
  }
  bench_layer(layer, options, rate, findings);
  findings.say("batch " + std::to_string(options.batch) + ", " + std::to_string(step) +
               " input steps per step, " + std::to_string(time) + " layer-wise, " +
               std::to_string(options.step_threads) + " thread(s) in steps, " +
               std::to_string(options.threads) + " layer-wise");
  findings.finish();
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("bench", "Measure a model's steps and whole sequences");
  auto options = std::make_shared<BenchOptions>();
  options->model.add_to(*command);
  options->input.add_to(*command, true);
  auto add = [&](const char* name, auto& target, const char* text) {
    command->add_option(name, target, text)->check(positive())->capture_default_str();
  };
  add("--batch", options->batch, "Batch items");
  add("--blocks", options->blocks, "Blocks in one step");
  add("--seconds", options->seconds, "Duration of each measurement");
  add("--time", options->time, "Input steps of the layer-wise run");
  add("--threads", options->threads, "Threads of the layer-wise run, or that share the slots");
  command
      ->add_option("--slots", options->slots,
                   "Compare so many streams in slots with as many states, and measure nothing else")
      ->check(positive());
  add("--step-threads", options->step_threads, "Threads of steps");
  command
      ->add_option("--max-length", options->max_length,
                   "Maximum steps of a stream, which is reset after them")
      ->check(positive());
  command->add_flag("--profile", options->profile,
                    "Print time, arithmetic and memory traffic of each layer, on one thread");
  command->add_option("--sort", options->sort, "Order of the profile's layers")
      ->check(CLI::IsMember(
          std::vector<std::string>(std::begin(kProfileOrders), std::end(kProfileOrders))))
      ->needs("--profile")
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print what was measured as JSON");
  command->callback([options, &action] { action = [options] { return run_bench(*options); }; });
}

}  // namespace sl::cli
