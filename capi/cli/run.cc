// sl run: runs a model on a sound or an array.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/model_option.h"
#include "cli/plot.h"
#include "cli/progress.h"
#include "cli/result_file.h"
#include "cli/segments.h"
#include "cli/source.h"

namespace sl::cli {
namespace {

using sequence_layers::Layer;
using testing::is_floating;
using testing::Model;
using testing::shape_text;
using testing::Stepper;
using testing::Tensor;

struct RunOptions {
  ModelOption model;
  std::string file;
  InputOptions input;
  bool stream = false;
  int64_t blocks = 1;
  std::string output;
  std::string plot;
  double threshold = 0.5;
};

struct Result {
  Tensor y;
  double seconds = 0;
};

// Blocks that the stream needs for the whole input and to flush its latency.
int64_t blocks_in(const Layer& layer, const testing::Input& input) {
  const int64_t block = layer.block_size();
  const int64_t time = input.x.time() + layer.input_latency();
  return (time + block - 1) / block;
}

Result run_model(const Model& model, const Source& source, const RunOptions& options) {
  Result result;
  if (options.stream) {
    const Layer& layer = model.layer;
    Stepper::Options stepping;
    stepping.blocks_per_step = std::min(options.blocks, blocks_in(layer, source.input));
    Stepper stepper(layer, source.input, stepping);
    ProgressBar bar;
    const auto total = static_cast<double>(stepper.num_steps());
    result.y = stepper.run_all([&](int64_t done) { bar.show(static_cast<double>(done) / total); });
    // Cuts outputs that only padding to whole blocks has made, and adds missing steps as invalid
    // ones.
    result.y = slice_time(result.y, 0, output_shape(layer, source.input).dims[1]);
    result.seconds = std::chrono::duration<double>(stepper.step_time()).count();
  } else {
    const auto start = std::chrono::steady_clock::now();
    result.y = apply(model.layer, source.input);
    const auto elapsed = std::chrono::steady_clock::now() - start;
    result.seconds = std::chrono::duration<double>(elapsed).count();
  }
  result.y = fill_invalid(result.y, 0);
  return result;
}

// Distance between output steps, in seconds, or in input steps if the rate is unknown.
double output_step(const Model& model, const Source& source) {
  return 1 / output_rate(model, source.sample_rate.value_or(1));
}

// The valid steps of the first batch item as real numbers; complex ones give their magnitude.
std::vector<double> values_of(const Tensor& x) {
  std::vector<double> values;
  int64_t time = x.time();
  while (time > 0 && !x.valid(0, time - 1)) --time;
  for (int64_t i = 0; i < time * x.step_size(); ++i) {
    values.push_back(x.dtype == SL_DTYPE_COMPLEX64 ? std::abs(x.at(i)) : x.at(i).real());
  }
  return values;
}

bool are_probabilities(const Tensor& y) {
  if (y.step_size() != 1 || !is_floating(y.dtype) || y.dtype == SL_DTYPE_COMPLEX64) return false;
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

Plot make_plot(const Model& model, const Source& source, const Tensor& y,
               const std::vector<Segment>& segments, const RunOptions& options) {
  const std::filesystem::path folder(options.model.directory);
  const bool bare = folder.filename().empty();  // the path ends with a slash
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
  plot.title =
      (bare ? folder.parent_path() : folder).filename().string() + "  \xc2\xb7  " + source.name;
  plot.time_label = source.sample_rate ? "time (s)" : "time (input steps)";
  plot.panels = {std::move(in), std::move(out)};
  plot.segments = segments;
  return plot;
}

template <typename File>
std::optional<File> open_file(const std::string& path) {
  return path.empty() ? std::nullopt : std::optional<File>(path);
}

int run_run(const RunOptions& options) {
  // The output is opened first, so that a wrong path fails before a long run.
  const auto output = open_file<ResultFile>(options.output);
  const auto figure = open_file<PlotFile>(options.plot);
  const Model model = options.model.open();
  Source source = read_source(model, options.file, options.input);
  if (!source.note.empty()) std::printf("%s\n", source.note.c_str());
  source.input.constants =
      random_constants(model.layer, options.input, source.input.x.batch(), source.input.x.time());
  if (output) output->check(model, source);
  const Result result = run_model(model, source, options);
  print_result(source, result, options.stream);
  std::vector<Segment> segments;
  if (source.sample_rate && are_probabilities(result.y)) {
    segments = find_segments(values_of(result.y), output_step(model, source), options.threshold);
    print_segments(segments);
  }
  if (output) output->write(model, source, result.y);
  if (figure) figure->write(make_plot(model, source, result.y, segments, options));
  return 0;
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("run", "Run a model on a sound or an array");
  auto options = std::make_shared<RunOptions>();
  options->model.add_to(*command);
  command
      ->add_option("file", options->file, "A sound, or .npy of [t, ...] or [b, t, ...]; - is stdin")
      ->required()
      ->type_name(kFile);
  options->input.add_to(*command, true);
  command->add_flag("--stream", options->stream, "Run step by step instead of all at once");
  command->add_option("--block", options->blocks, "Blocks in one step of --stream")
      ->check(positive())
      ->capture_default_str();
  command->add_option("--output", options->output, "Write the output to this .npy or .wav")
      ->type_name(kFile);
  command->add_option("--plot", options->plot, "Draw input and output to this .png or .svg")
      ->type_name(kFile);
  command->add_option("--threshold", options->threshold, "Minimum probability of speech")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->callback([options, &action] { action = [options] { return run_run(*options); }; });
}

}  // namespace sl::cli
