// sl golden: checks all recorded cases of a directory.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/json_output.h"  // ordered_json: a config keeps its fields in the order of the file
#include "cli/progress.h"
#include "testing/model.h"

namespace sl::cli {
namespace {

using nlohmann::json;
using sequence_layers::Layer;
using sequence_layers::Weights;
using testing::Case;
using testing::Report;

struct GoldenOptions {
  std::string directory;
  std::vector<std::string> only;
  bool prefix = false;
  bool slots = false;
  bool list = false;
  bool verbose = false;
  bool json = false;
};

// The outcomes of the cases, printed one by one, or as JSON at the end.
class Tally {
 public:
  explicit Tally(bool as_json) : as_json_(as_json) {}

  int passed() const { return passed_; }
  int failed() const { return failed_; }

  void name(const std::string& name) {
    if (as_json_) {
      cases_.push_back(name);
    } else {
      std::printf("%s\n", name.c_str());
    }
  }

  // `expected`: the case passed with a difference that the library announces.
  void pass(const std::string& name, bool expected) {
    ++passed_;
    if (expected) ++expected_;
    cases_.push_back({{"name", name}, {"outcome", expected ? "passed as announced" : "passed"}});
  }

  // Counts a case that neither passes nor fails, as its layer cannot step.
  void skip(const std::string& name) {
    ++stepless_;
    cases_.push_back({{"name", name}, {"outcome", "without steps"}});
  }

  void fail(const std::string& name, std::string reason) {
    std::replace(reason.begin(), reason.end(), '\n', ' ');
    ++failed_;
    cases_.push_back({{"name", name}, {"outcome", "failed"}, {"reason", reason}});
    if (as_json_) return;
    progress_.clear();
    std::printf("FAIL %s: %s\n", name.c_str(), reason.c_str());
    std::fflush(stdout);
  }

  // Shows the share of all cases that is done.
  void progress(double share) { progress_.show(share); }

  // `counts_stepless`: cases without steps were checked for nothing.
  void finish(bool counts_stepless) {
    progress_.clear();
    if (as_json_) {
      ordered_json all = {{"passed", passed_}, {"failed", failed_}};
      if (counts_stepless) all["without_steps"] = stepless_;
      if (expected_ > 0) all["as_announced"] = expected_;
      all["cases"] = cases_;
      return print_json(all);
    }
    std::printf("%d passed, %d failed", passed_, failed_);
    if (counts_stepless) std::printf(", %d without steps", stepless_);
    if (expected_ > 0)
      std::printf(", %d with steps that differ from whole runs as announced", expected_);
    std::printf("\n");
  }

  void finish_list() const {
    if (as_json_) print_json({{"cases", cases_}});
  }

 private:
  bool as_json_;
  int passed_ = 0, failed_ = 0, stepless_ = 0, expected_ = 0;
  ordered_json cases_ = ordered_json::array();
  ProgressBar progress_;
};

// The types recorded in a directory: the sorted names of its *.json files.
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

Report check_case(const ordered_json& written, const Weights& tensors,
                  const GoldenOptions& options) {
  const json recorded = written;
  const std::string path = recorded.at("name").get<std::string>() + "/";
  const Weights weights = testing::select_weights(tensors, path + "weights/");
  const bool half =
      testing::uses_half_precision(recorded.at("config")) || testing::any_half_tensor(weights);
  const Layer layer(written.at("config").dump(), weights);
  Case c = testing::read_case(recorded, tensors, path, half);
  c.layer = &layer;
  c.call_sizes = {7, 64, 1000};
  if (options.slots) return check_slots(c);
  return options.prefix ? check_prefixes(c) : check_contract(c);
}

void run_case(const ordered_json& recorded, const Weights& tensors, const GoldenOptions& options,
              Tally& tally) {
  const std::string name = recorded.value("name", "unnamed case");
  // The name is printed before the case runs, so that it is known after a crash.
  if (options.verbose) std::fprintf(stderr, "%s\n", name.c_str());
  try {
    const Report report = check_case(recorded, tensors, options);
    if (report.checks.empty()) {
      tally.skip(name);
    } else if (report.ok()) {
      tally.pass(name, report.has_expected());
    } else {
      tally.fail(name, report.failures());
    }
  } catch (const std::exception& error) {
    tally.fail(name, error.what());
  }
}

// `place` and `share` are parts of the whole progress: where this type begins and how much it adds.
void run_type(const std::string& type, const GoldenOptions& options, double place, double share,
              Tally& tally) {
  const std::filesystem::path base = std::filesystem::path(options.directory) / type;
  ordered_json file;
  std::optional<Weights> tensors;
  try {
    file = ordered_json::parse(testing::read_file(base.string() + ".json"));
    if (!options.list) tensors = Weights::open(base.string() + ".safetensors");
  } catch (const std::exception& error) {
    return tally.fail(type, error.what());
  }
  const ordered_json cases = file.value("cases", ordered_json::array());
  for (size_t i = 0; i < cases.size(); ++i) {
    if (options.list) {
      tally.name(cases[i].value("name", ""));
    } else {
      run_case(cases[i], *tensors, options, tally);
      const auto done = static_cast<double>(i + 1) / static_cast<double>(cases.size());
      if (!options.verbose) tally.progress(place + share * done);
    }
  }
}

int run_golden(const GoldenOptions& options) {
  const std::set<std::string> only(options.only.begin(), options.only.end());
  const std::vector<std::string> all = types_of(options.directory);
  std::vector<std::string> types;
  std::ranges::copy_if(all, std::back_inserter(types), [&](const std::string& type) {
    return only.empty() || only.contains(type);
  });
  Tally tally(options.json);
  const double share = 1 / static_cast<double>(std::max<size_t>(1, types.size()));
  for (size_t i = 0; i < types.size(); ++i) {
    run_type(types[i], options, share * static_cast<double>(i), share, tally);
  }
  for (const std::string& type : only) {
    if (!std::binary_search(all.begin(), all.end(), type)) {
      tally.fail(type, "no " + type + ".json in " + options.directory);
    }
  }
  if (options.list) {
    tally.finish_list();
    return tally.failed() == 0 ? 0 : 1;
  }
  tally.finish(options.prefix || options.slots);
  return tally.failed() == 0 && tally.passed() > 0 ? 0 : 1;
}

}  // namespace

void add_golden(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("golden", "Check every recorded case of a directory");
  auto options = std::make_shared<GoldenOptions>();
  command->add_option("directory", options->directory, "Directory of <Type>.json and .safetensors")
      ->required()
      ->type_name(kDirectory);
  command->add_option("--only", options->only, "Types to check, separated by commas")
      ->delimiter(',');
  command->add_flag("--prefix", options->prefix,
                    "Check only that every layer-wise prefix, followed by steps, equals steps");
  command
      ->add_flag("--slots", options->slots,
                 "Check only that streams that share a state give what each gives alone")
      ->excludes("--prefix");
  command->add_flag("--list", options->list, "Print the cases' names without running them");
  command->add_flag("--verbose", options->verbose, "Name each case on stderr before it runs");
  command->add_flag("--json", options->json, "Print the outcomes as JSON");
  command->callback([options, &action] { action = [options] { return run_golden(*options); }; });
}

}  // namespace sl::cli
