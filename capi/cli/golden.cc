// sl golden: every case of a directory of recorded cases.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/model.h"

namespace sl::cli {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;  // a config is handed over with its fields in the order of the file

struct GoldenOptions {
  std::string directory;
  std::vector<std::string> only;
  bool prefix = false;
  bool list = false;
  bool verbose = false;
};

struct Tally {
  int passed = 0;
  int failed = 0;
  int stepless = 0;  // neither, as there are no steps to check

  void fail(const std::string& name, std::string reason) {
    std::replace(reason.begin(), reason.end(), '\n', ' ');
    ++failed;
    std::printf("FAIL %s: %s\n", name.c_str(), reason.c_str());
    std::fflush(stdout);
  }
};

// Names of the types of a directory: its *.json files, sorted.
std::vector<std::string> types_of(const std::string& directory) {
  if (!std::filesystem::is_directory(directory)) {
    throw std::runtime_error("there is no directory " + directory);
  }
  std::vector<std::string> types;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() == ".json") types.push_back(entry.path().stem().string());
  }
  std::sort(types.begin(), types.end());
  return types;
}

Report check_case(const ordered_json& written, const sl_weights* tensors, bool prefix_only) {
  const json recorded = written;
  const std::string path = recorded.at("name").get<std::string>() + "/";
  const Weights weights = select_weights(tensors, path + "weights/");
  const bool half = uses_half_precision(recorded.at("config")) || any_half_tensor(weights.get());
  const Layer layer = create_layer(written.at("config").dump(), weights.get());
  Case c = read_case(recorded, tensors, path, half);
  c.layer = layer.get();
  return prefix_only ? check_prefixes(c) : check_contract(c);
}

void run_case(const ordered_json& recorded, const sl_weights* tensors, const GoldenOptions& options,
              Tally& tally) {
  const std::string name = recorded.value("name", "unnamed case");
  // Said before the case runs, so that a crash has a name.
  if (options.verbose) std::fprintf(stderr, "%s\n", name.c_str());
  try {
    const Report report = check_case(recorded, tensors, options.prefix);
    if (report.checks.empty()) {
      ++tally.stepless;
    } else if (report.ok()) {
      ++tally.passed;
    } else {
      tally.fail(name, report.failures());
    }
  } catch (const std::exception& error) {
    tally.fail(name, error.what());
  }
}

void run_type(const std::string& type, const GoldenOptions& options, Tally& tally) {
  const std::filesystem::path base = std::filesystem::path(options.directory) / type;
  ordered_json file;
  Weights tensors;
  try {
    file = ordered_json::parse(read_file(base.string() + ".json"));
    if (!options.list) tensors = open_weights(base.string() + ".safetensors");
  } catch (const std::exception& error) {
    return tally.fail(type, error.what());
  }
  for (const ordered_json& recorded : file.value("cases", ordered_json::array())) {
    if (options.list) {
      std::printf("%s\n", recorded.value("name", "").c_str());
    } else {
      run_case(recorded, tensors.get(), options, tally);
    }
  }
}

int run_golden(const GoldenOptions& options) {
  const std::set<std::string> only(options.only.begin(), options.only.end());
  const std::vector<std::string> types = types_of(options.directory);
  Tally tally;
  for (const std::string& type : types) {
    if (only.empty() || only.contains(type)) run_type(type, options, tally);
  }
  for (const std::string& type : only) {
    if (!std::binary_search(types.begin(), types.end(), type)) {
      tally.fail(type, "no " + type + ".json in " + options.directory);
    }
  }
  if (options.list) return tally.failed == 0 ? 0 : 1;
  std::printf("%d passed, %d failed", tally.passed, tally.failed);
  if (options.prefix) std::printf(", %d without steps", tally.stepless);
  std::printf("\n");
  return tally.failed == 0 && tally.passed > 0 ? 0 : 1;
}

}  // namespace

void add_golden(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("golden", "Check every recorded case of a directory");
  auto options = std::make_shared<GoldenOptions>();
  command->add_option("directory", options->directory, "Directory of <Type>.json and .safetensors")
      ->required();
  command->add_option("--only", options->only, "Types to check, separated by commas")
      ->delimiter(',');
  command->add_flag("--prefix", options->prefix,
                    "Check only that every layer-wise prefix, followed by steps, equals steps");
  command->add_flag("--list", options->list, "Print the cases' names, run nothing");
  command->add_flag("--verbose", options->verbose, "Name each case on stderr before it runs");
  command->callback([options, &action] { action = [options] { return run_golden(*options); }; });
}

}  // namespace sl::cli
