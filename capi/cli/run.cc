// sl run: a model on a sound or an array.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/audio.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/model.h"
#include "cli/npy.h"
#include "cli/plot.h"

namespace sl::cli {
namespace {

struct RunOptions {
  std::string model;
  std::string file;
  InputOptions input;
  bool stream = false;
  int64_t blocks = 1;
  std::string output;
  std::string plot;
  double threshold = 0.5;
};

// What was read, in the model's terms.
struct Source {
  Input input;
  bool has_batch = true;              // else the file was one sequence without a batch axis
  std::optional<double> sample_rate;  // input steps a second
};

struct Result {
  Tensor y;
  double seconds = 0;
};

bool takes(const sl_layer* layer, const Tensor& x) {
  const sl_channel_spec in = channel_spec(x);
  sl_channel_spec out = SL_CHANNEL_SPEC_INIT;
  return sl_layer_output_spec(layer, &in, nullptr, 0, &out, nullptr) == SL_OK;
}

Source read_sound(const Model& model, const RunOptions& options) {
  Audio audio = read_audio(options.file);
  Source source;
  if (const auto rate = model.sample_rate()) audio = resample(std::move(audio), *rate);
  source.sample_rate = audio.sample_rate;
  const auto time = static_cast<int64_t>(audio.samples.size());
  Tensor x = make_sequence(SL_FLOAT32, {1, time});
  std::memcpy(x.bytes.data(), audio.samples.data(), x.bytes.size());
  const auto spec = find_input_spec(model.layer.get(), options.input);
  const bool one_channel =
      spec ? spec->rank == 1 && spec->dims[0] == 1 : !takes(model.layer.get(), x);
  if (one_channel) x.dims.push_back(1);
  if (spec && spec->rank != static_cast<int32_t>(x.dims.size()) - 2) {
    throw std::runtime_error("the model takes steps of shape " +
                             shape_text({spec->dims, spec->dims + spec->rank}) +
                             ", not single samples of sound");
  }
  source.input.x = std::move(x);
  return source;
}

bool fits(const Tensor& x, const sl_channel_spec& spec) {
  return x.dtype == spec.dtype && static_cast<int32_t>(x.dims.size()) == spec.rank + 2 &&
         std::equal(spec.dims, spec.dims + spec.rank, x.dims.begin() + 2);
}

bool takes_samples(const sl_channel_spec& spec) {
  return spec.rank == 0 || (spec.rank == 1 && spec.dims[0] == 1);
}

// Small integers for a model of float32: samples of sound, as in a WAV file, if it takes single
// numbers, else those numbers. Says which.
Tensor to_float(const NpyArray& array, const sl_channel_spec& spec) {
  const bool is_signed = array.dtype == "int16", is_sound = takes_samples(spec);
  const double middle = is_sound && !is_signed ? 128 : 0;
  const double scale = is_sound ? (is_signed ? 32768 : 128) : 1;
  Tensor y = make_array(SL_FLOAT32, array.values.dims);
  for (int64_t i = 0; i < y.size(); ++i) y.set(i, (array.values.at(i) - middle) / scale);
  std::printf("%s %s\n", array.dtype.c_str(),
              is_sound ? "samples scaled to [-1, 1)" : "numbers taken as they are");
  return y;
}

Tensor read_values(const RunOptions& options, const std::optional<sl_channel_spec>& spec) {
  NpyArray array = read_npy_array(options.file);
  const bool small = array.dtype == "int16" || array.dtype == "uint8";
  if (small && spec && spec->dtype == SL_FLOAT32) return to_float(array, *spec);
  return std::move(array.values);
}

Source read_array(const Model& model, const RunOptions& options) {
  Source source;
  source.sample_rate = model.sample_rate();
  const auto spec = find_input_spec(model.layer.get(), options.input);
  Tensor x = read_values(options, spec);
  if (x.dims.empty()) throw std::runtime_error(options.file + " is a single number");
  source.has_batch =
      spec ? static_cast<int32_t>(x.dims.size()) == spec->rank + 2 : x.dims.size() > 2;
  if (!source.has_batch) x.dims.insert(x.dims.begin(), 1);
  if (x.dims.size() > SL_MAX_RANK) {
    throw std::runtime_error(options.file + " has too many dimensions: " + shape_text(x.dims));
  }
  Tensor sequence = make_sequence(x.dtype, x.dims);
  if (sequence.size() == 0) throw std::runtime_error(options.file + " is empty");
  sequence.bytes = std::move(x.bytes);
  if (spec && !fits(sequence, *spec)) {
    const std::vector<int64_t> dims(sequence.dims.begin() + (source.has_batch ? 0 : 1),
                                    sequence.dims.end());
    throw std::runtime_error(options.file + " is " + sl_dtype_name(sequence.dtype) + " " +
                             shape_text(dims) + ", but the model takes steps of " +
                             sl_dtype_name(spec->dtype) + " " +
                             shape_text({spec->dims, spec->dims + spec->rank}));
  }
  source.input.x = std::move(sequence);
  return source;
}

// On stderr, only where somebody watches, and only if it takes a while.
class ProgressBar {
 public:
  explicit ProgressBar(int64_t total) : total_(total), shown_(isatty(STDERR_FILENO) != 0) {}
  ~ProgressBar() {
    if (percent_ >= 0) std::fprintf(stderr, "\r\033[K");
  }

  void operator()(int64_t done) {
    const auto percent = static_cast<int>(100 * done / total_);
    const auto elapsed = std::chrono::steady_clock::now() - start_;
    if (!shown_ || percent == percent_ || elapsed < std::chrono::milliseconds(500)) return;
    percent_ = percent;
    const std::string bar(static_cast<size_t>(percent * 40 / 100), '#');
    std::fprintf(stderr, "\r[%-40s] %3d%%", bar.c_str(), percent);
  }

 private:
  int64_t total_;
  bool shown_;
  int percent_ = -1;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Of a stream that takes the whole input, and flushes it.
int64_t blocks_in(const sl_layer* layer, const Input& input) {
  const int64_t block = get(sl_layer_block_size, layer);
  const int64_t time = input.x.time() + get(sl_layer_input_latency, layer);
  return (time + block - 1) / block;
}

Result run_model(const Model& model, const Source& source, const RunOptions& options) {
  Result result;
  if (options.stream) {
    const sl_layer* layer = model.layer.get();
    Stepper::Options stepping;
    stepping.blocks_per_step = std::min(options.blocks, blocks_in(layer, source.input));
    Stepper stepper(layer, source.input, stepping);
    ProgressBar bar(stepper.num_steps());
    result.y = stepper.run_all([&](int64_t done) { bar(done); });
    // Without what the padding to whole blocks gave, and with what it did not reach.
    result.y = slice_time(result.y, 0, output_time(layer, source.input));
    result.seconds = std::chrono::duration<double>(stepper.step_time()).count();
  } else {
    const auto start = std::chrono::steady_clock::now();
    result.y = apply(model.layer.get(), source.input);
    const auto elapsed = std::chrono::steady_clock::now() - start;
    result.seconds = std::chrono::duration<double>(elapsed).count();
  }
  result.y = fill_invalid(result.y, 0);
  return result;
}

// Seconds, or where no rate is known input steps, from one output step to the next.
double output_step(const Model& model, const Source& source) {
  int64_t numerator = 1, denominator = 1;
  check([&](sl_error* e) {
    return sl_layer_output_ratio(model.layer.get(), &numerator, &denominator, e);
  });
  return static_cast<double>(denominator) / static_cast<double>(numerator) /
         source.sample_rate.value_or(1);
}

// The first batch item's valid steps, as real numbers: magnitudes of complex ones.
std::vector<double> values_of(const Tensor& x) {
  std::vector<double> values;
  int64_t time = x.time();
  while (time > 0 && !x.valid(0, time - 1)) --time;
  for (int64_t i = 0; i < time * x.step_size(); ++i) {
    values.push_back(x.dtype == SL_COMPLEX64 ? std::abs(x.at(i)) : x.at(i).real());
  }
  return values;
}

bool are_probabilities(const Tensor& y) {
  if (y.step_size() != 1 || !is_floating(y.dtype) || y.dtype == SL_COMPLEX64) return false;
  const std::vector<double> values = values_of(y);
  return !values.empty() &&
         std::all_of(values.begin(), values.end(), [](double v) { return v >= 0 && v <= 1; });
}

void print_result(const Source& source, const Result& result, bool stream) {
  std::printf("input   %s %s\noutput  %s %s\n", sl_dtype_name(source.input.x.dtype),
              shape_text(source.input.x.dims).c_str(), sl_dtype_name(result.y.dtype),
              shape_text(result.y.dims).c_str());
  std::printf("time    %.3f ms %s", 1000 * result.seconds, stream ? "step-wise" : "layer-wise");
  if (source.sample_rate) {
    const double length = static_cast<double>(source.input.x.time()) / *source.sample_rate;
    std::printf(" for %.3f s at %.0f Hz: real-time factor %.4f, %.1f x real time", length,
                *source.sample_rate, result.seconds / length, length / result.seconds);
  }
  std::printf("\n");
}

void print_segments(const std::vector<Segment>& segments) {
  std::printf("%zu speech segment%s\n", segments.size(), segments.size() == 1 ? "" : "s");
  for (const Segment& segment : segments) {
    std::printf("%10.3f - %.3f s\n", segment.start, segment.end);
  }
}

void plot_result(const Model& model, const Source& source, const Tensor& y,
                 const std::vector<Segment>& segments, const RunOptions& options) {
  const std::filesystem::path folder(options.model);
  const bool bare = folder.filename().empty();  // a trailing slash
  const double step = output_step(model, source);
  const bool probabilities = are_probabilities(y);
  Panel in{"input",
           values_of(source.input.x),
           source.input.x.step_size(),
           1 / source.sample_rate.value_or(1),
           {},
           {},
           {}};
  Panel out{"output", values_of(y), y.step_size(), step, {}, {}, {}};
  if (source.sample_rate && in.channels == 1) in.label = "waveform";
  if (probabilities) {
    out.low = -0.03;
    out.high = 1.03;
    if (source.sample_rate) {
      out.label = "probability";
      out.threshold = options.threshold;
    }
  }
  Plot plot;
  plot.title = (bare ? folder.parent_path() : folder).filename().string() + "  \xc2\xb7  " +
               std::filesystem::path(options.file).filename().string();
  plot.time_label = source.sample_rate ? "time (s)" : "time (input steps)";
  plot.panels = {std::move(in), std::move(out)};
  plot.segments = segments;
  write_png(plot, options.plot);
}

int run_run(const RunOptions& options) {
  const Model model = open_model(options.model);
  const bool array = std::filesystem::path(options.file).extension() == ".npy";
  Source source = array ? read_array(model, options) : read_sound(model, options);
  source.input.constants = random_constants(model.layer.get(), options.input,
                                            source.input.x.batch(), source.input.x.time());
  const Result result = run_model(model, source, options);
  print_result(source, result, options.stream);
  std::vector<Segment> segments;
  if (source.sample_rate && are_probabilities(result.y)) {
    segments = find_segments(values_of(result.y), output_step(model, source), options.threshold);
    print_segments(segments);
  }
  if (!options.output.empty()) {
    Tensor y = result.y;
    if (!source.has_batch) y.dims.erase(y.dims.begin());
    write_npy(options.output, y);
  }
  if (!options.plot.empty()) plot_result(model, source, result.y, segments, options);
  return 0;
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("run", "Run a model on a sound or an array");
  auto options = std::make_shared<RunOptions>();
  command->add_option("model", options->model, "Model directory")->required();
  command->add_option("file", options->file, "A sound file, or .npy of [t, ...] or [b, t, ...]")
      ->required();
  options->input.add_to(*command, true);
  command->add_flag("--stream", options->stream, "Run step by step instead of all at once");
  command->add_option("--block", options->blocks, "Blocks in one step of --stream")
      ->check(positive())
      ->capture_default_str();
  command->add_option("--output", options->output, "Write the output to this .npy");
  command->add_option("--plot", options->plot, "Draw input and output to this .png");
  command->add_option("--threshold", options->threshold, "Probability above which it is speech")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->callback([options, &action] { action = [options] { return run_run(*options); }; });
}

}  // namespace sl::cli
