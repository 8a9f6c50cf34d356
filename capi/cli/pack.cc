// sl pack: writes a model whose matrices lie packed in its weights file.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include "cli/calibrate.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/noise.h"
#include "cli/numbers.h"
#include "cli/source.h"
#include "testing/model.h"

namespace sl::cli {
namespace {

namespace fs = std::filesystem;
using sequence_layers::Layer;

struct PackOptions {
  std::string model;
  std::string format = "float32";
  std::string out;
  std::string calibrate;  // the file with the input
  double aim = 40;
  std::string keep = "float32";
  std::string rounding = "feedback";
  InputOptions input;
};

int64_t size_of(const fs::path& path) { return static_cast<int64_t>(fs::file_size(path)); }

// Opens the model in the formats that are asked for, after a word on the matrices that calibration
// keeps out of them.
Layer open_for(const PackOptions& options) {
  if (options.calibrate.empty()) return open_in_formats(options.model, options.format);
  const testing::Model model = testing::open_model(options.model);
  testing::Input input = read_source(model, options.calibrate, options.input).input;
  input.constants = random_constants(model.layer, options.input, input.x.batch(), input.x.time());
  const CalibratedModel found = calibrate(
      model, input, {options.format, options.keep, options.aim, options.rounding == "feedback"});
  for (const KeptMatrix& kept : found.kept) {
    std::string names;
    for (const std::string& tensor : kept.tensors) names += (names.empty() ? "" : ", ") + tensor;
    std::printf("%s: %s (the only one in its format, it gives %s)\n", options.keep.c_str(),
                names.c_str(), decibels(kept.alone_db).c_str());
  }
  std::printf("output: %s\n", decibels(found.output_db).c_str());
  return open_in_formats(options.model, found.formats, found.weights);
}

int run_pack(const PackOptions& options) {
  const fs::path from(options.model), to(options.out);
  const Layer layer = open_for(options);
  fs::create_directories(to);
  if (fs::equivalent(from, to)) throw std::invalid_argument("--out is the model itself");
  const fs::path weights = "model.safetensors", config = "config.json";
  if (!fs::exists(from / weights)) throw std::runtime_error(options.model + " has no weights");
  layer.save_weights((to / weights).string());
  fs::copy_file(from / config, to / config, fs::copy_options::overwrite_existing);
  std::printf("%s: %s, from %s\n", (to / weights).c_str(),
              bytes_text(size_of(to / weights)).c_str(),
              bytes_text(size_of(from / weights)).c_str());
  return 0;
}

}  // namespace

void add_pack(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("pack", "Write a model with packed weights, which are mapped when opened");
  auto options = std::make_shared<PackOptions>();
  command->add_option("model", options->model, "Model directory")
      ->required()
      ->type_name(kDirectory);
  command
      ->add_option("--format", options->format,
                   "float32, bfloat16, int8 or int4; PATTERN=FORMAT for tensors by name, separated "
                   "by commas")
      ->capture_default_str();
  command->add_option("--out", options->out, "Directory to write")
      ->required()
      ->type_name(kDirectory);
  command
      ->add_option(
          "--calibrate", options->calibrate,
          "Round int8 and int4 with error feedback for this input, a sound or .npy, and keep "
          "matrices out of them so that its output reaches --aim")
      ->type_name(kFile);
  command->add_option("--aim", options->aim, "Signal to noise of --calibrate, in dB")
      ->capture_default_str();
  command->add_option("--keep", options->keep, "Format of the matrices that --calibrate keeps")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  command
      ->add_option("--rounding", options->rounding,
                   "How --calibrate rounds int8 and int4: with error feedback, or to the nearest")
      ->check(CLI::IsMember({"feedback", "nearest"}))
      ->capture_default_str();
  options->input.add_to(*command, true);
  command->callback([options, &action] { action = [options] { return run_pack(*options); }; });
}

}  // namespace sl::cli
