// sl pack: writes a model whose matrices lie packed in its weights file.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include "cli/commands.h"
#include "cli/numbers.h"
#include "sequence_layers/sequence_layers.hpp"

namespace sl::cli {
namespace {

namespace fs = std::filesystem;
using sequence_layers::Layer;

struct PackOptions {
  std::string model;
  std::string format = "float32";
  std::string out;
};

int64_t size_of(const fs::path& path) { return static_cast<int64_t>(fs::file_size(path)); }

int run_pack(const PackOptions& options) {
  const fs::path from(options.model), to(options.out);
  sl_layer_options layer_options = SL_LAYER_OPTIONS_INIT;
  layer_options.weight_format = options.format.c_str();
  const Layer layer = Layer::open(options.model, &layer_options);
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
  command->callback([options, &action] { action = [options] { return run_pack(*options); }; });
}

}  // namespace sl::cli
