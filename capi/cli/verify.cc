// sl verify: checks the whole contract on one model.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/json_output.h"
#include "cli/model_option.h"
#include "cli/progress.h"

namespace sl::cli {
namespace {

using sequence_layers::Layer;
using testing::Case;
using testing::Check;
using testing::Model;
using testing::Report;
using testing::Tensor;

struct VerifyOptions {
  ModelOption model;
  InputOptions input;
  int64_t batch = 3;
  std::optional<int64_t> time;
  bool random = false;
  bool json = false;
};

// A few blocks more than latency and receptive field, so that every buffer wraps; limited for large
// fields.
int64_t default_time(const Layer& layer) {
  const int64_t block = layer.block_size();
  sequence_layers::ReceptiveField field;
  try {
    field = layer.receptive_field();
  } catch (const sequence_layers::Error&) {
    // There is no field to cover; a check will report the error.
  }
  int64_t span = 16;
  if (field.exists && field.start != -SL_INFINITE) span -= std::min<int64_t>(0, field.start);
  if (field.exists && field.end != SL_INFINITE) span += std::max<int64_t>(0, field.end);
  const int64_t blocks = std::max<int64_t>(5, (span + block - 1) / block + 2);
  return std::min(blocks, std::max<int64_t>(5, 2048 / block)) * block;
}

// A recorded case beside the model has known outputs; a random input can only show agreement.
Case make_case(const Model& model, const VerifyOptions& options, bool* is_recorded) {
  const std::filesystem::path folder(options.model.directory);
  const bool recorded = std::filesystem::exists(folder / "case.json") &&
                        std::filesystem::exists(folder / "case.safetensors");
  Case c;
  const bool shaped = !options.input.shape.empty() || !options.input.constants.empty() ||
                      !options.input.dtype.empty() || options.time.has_value();
  // Outputs with other weights or caches than the recorded ones differ.
  const bool same = options.model.weight_format.empty() && options.model.kv_format.empty();
  *is_recorded = recorded && !options.random && !shaped && same;
  if (*is_recorded) {
    const auto json = nlohmann::json::parse(testing::read_file((folder / "case.json").string()));
    const auto tensors = sequence_layers::Weights::open((folder / "case.safetensors").string());
    c = testing::read_case(json, tensors, "", model.half_precision());
  } else {
    const int64_t time = options.time ? *options.time : default_time(model.layer);
    c.input = random_input(model.layer, options.input, options.batch, time);
    c.tolerance = testing::case_tolerance(
        1e-5, 1e-5, model.half_precision() || testing::is_half(c.input.x.dtype));
  }
  c.layer = &model.layer;
  c.probe_receptive_field = true;
  return c;
}

void print_check(const Check& check) {
  std::string text = check.is_expected() ? check.expected : check.reason;
  if (check.reason.empty() && check.largest > 0) {
    char difference[48];
    std::snprintf(difference, sizeof(difference), "largest difference %.3g", check.largest);
    text = difference;
  }
  if (!check.note.empty()) text += (text.empty() ? "" : "; ") + check.note;
  const int padding = text.empty() ? 0 : 26;
  const char* outcome = check.is_expected() ? "expected" : check.ok() ? "ok" : "FAIL";
  std::printf("%-4s  %-*s%s%s\n", outcome, padding, check.name.c_str(), text.empty() ? "" : "  ",
              text.c_str());
}

void print_input(const Tensor& x, bool recorded) {
  std::printf("input: %s%s %s\n", recorded ? "recorded" : "random ",
              recorded ? "" : sl_dtype_name(x.dtype), testing::shape_text(x.dims).c_str());
}

struct Counts {
  int passed = 0, failed = 0, expected = 0;
};

Counts count(const Report& report) {
  Counts counts;
  for (const Check& check : report.checks)
    ++(check.is_expected() ? counts.expected : check.ok() ? counts.passed : counts.failed);
  return counts;
}

ordered_json check_json(const Check& check) {
  const char* outcome = check.is_expected() ? "expected" : check.ok() ? "ok" : "failed";
  ordered_json out = {{"name", check.name}, {"outcome", outcome}};
  if (!check.reason.empty()) out["reason"] = check.reason;
  if (check.is_expected()) out["announced"] = check.expected;
  out["largest_difference"] = check.largest;
  if (!check.note.empty()) out["note"] = check.note;
  return out;
}

void print_report(const Report& report, const Tensor& x, bool recorded, const Counts& counts) {
  ordered_json checks = ordered_json::array();
  for (const Check& check : report.checks) checks.push_back(check_json(check));
  print_json(
      {{"input", {{"recorded", recorded}, {"dtype", sl_dtype_name(x.dtype)}, {"shape", x.dims}}},
       {"passed", counts.passed},
       {"failed", counts.failed},
       {"expected", counts.expected},
       {"checks", checks}});
}

int run_verify(const VerifyOptions& options) {
  const Model model = options.model.open();
  bool recorded = false;
  Case c = make_case(model, options, &recorded);
  ProgressBar progress;
  c.on_progress = [&](double share) { progress.show(share); };
  if (!options.json) {
    print_input(c.input.x, recorded);
    c.on_check = [&](const Check& check) {
      progress.clear();
      print_check(check);
      std::fflush(stdout);
    };
  }
  const Report report = check_contract(c);
  progress.clear();
  const Counts counts = count(report);
  if (options.json) {
    print_report(report, c.input.x, recorded, counts);
  } else {
    std::printf("%d passed, %d failed", counts.passed, counts.failed);
    if (counts.expected > 0) std::printf(", %d expected", counts.expected);
    std::printf("\n");
  }
  return counts.failed == 0 && counts.passed > 0 ? 0 : 1;
}

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("verify", "Check a model against the whole contract");
  auto options = std::make_shared<VerifyOptions>();
  options->model.add_to(*command);
  options->input.add_to(*command, true);
  command->add_option("--batch", options->batch, "Batch items of the random input")
      ->check(positive())
      ->capture_default_str();
  command->add_option("--time", options->time, "Steps of the random input")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--random", options->random, "Random input even if a case is recorded");
  command->add_flag("--json", options->json, "Print the checks as JSON");
  command->callback([options, &action] { action = [options] { return run_verify(*options); }; });
}

}  // namespace sl::cli
