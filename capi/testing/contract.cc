#include "testing/contract.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "testing/contract_masks.h"
#include "testing/contract_sizes.h"
#include "testing/contract_slots.h"
#include "testing/contract_state.h"
#include "testing/metadata.h"
#include "testing/probe.h"

namespace sl::testing {
namespace {

using nlohmann::json;

// Collects the results of checks. An exception in a check is its failure.
class Checker {
 public:
  Checker(const Case& c, Report& report) : case_(c), report_(report) {}

  // Runs one check and returns whether it passed. If the library announces a difference, one is
  // expected, but an exception is not.
  bool run(const std::string& name, const std::function<Comparison()>& test,
           const std::string& announced = "") {
    Check check{name, "", 0, ""};
    try {
      const Comparison result = test();
      check.reason = result.reason;
      check.largest = result.largest;
      if (!result.ok()) check.expected = announced;
    } catch (const std::exception& error) {
      check.reason = error.what();
    }
    const bool kept = check.reason.empty();
    add(std::move(check));
    return kept;
  }

  void add(Check check) {
    if (case_.on_check) case_.on_check(check);
    report_.checks.push_back(std::move(check));
  }

 private:
  const Case& case_;
  Report& report_;
};

Tensor pad_time(const Tensor& x, int64_t steps) { return slice_time(x, 0, x.time() + steps); }

double pad_value_of(const Case& c, sl_dtype dtype) { return c.pad_value.value_or(poison(dtype)); }

// Constants that run along with x have its length: they are extended with it.
Input pad_with_poison(const Case& c, int64_t steps) {
  Input out = c.input;
  out.x = fill_invalid(pad_time(out.x, steps), pad_value_of(c, out.x.dtype));
  for (NamedTensor& constant : out.constants) {
    Tensor& value = constant.value;
    if (value.is_array) continue;
    if (value.time() == c.input.x.time()) value = pad_time(value, steps);
    value = fill_invalid(value, pad_value_of(c, value.dtype));
  }
  return out;
}

// Outputs beyond ratio x length, such as the end of the last overlap-added frame, exist only
// because the sequence ends there: with invalid steps after it they are missing.
Comparison compare_padded(const Case& c, const Tensor& got, const Tensor& y) {
  const auto [numerator, denominator] = c.layer->output_ratio();
  const int64_t time = c.input.x.time() * numerator / denominator;
  if (y.time() <= time) return compare_sequences(got, y, c.tolerance);
  return compare_sequences(slice_time(got, 0, time), slice_time(y, 0, time), c.tolerance);
}

Input pad_with_garbage_items(const Case& c) {
  Input out = c.input;
  out.x = pad_batch_with_garbage(out.x);
  for (NamedTensor& constant : out.constants) {
    constant.value = pad_batch_with_garbage(constant.value);
  }
  return out;
}

Comparison check_metadata(const Case& c) {
  const json& want = c.metadata;
  std::string reason = compare_metadata(read_metadata(*c.layer), want);
  if (reason.empty()) {
    reason = compare_metadata({{"output", read_output_spec(*c.layer, c.input)}}, want);
  }
  return {reason};
}

// The output must have the announced spec, whether or not a golden case records one.
Comparison check_output_spec(const Case& c, const Tensor& y) {
  const json announced = read_output_spec(*c.layer, c.input);
  const json shown = spec_json(channel_spec(y));
  if (announced == shown) return {};
  return {"output is " + shown.dump() + ", but the output spec says " + announced.dump()};
}

Comparison check_emits(const Case& c, const std::vector<NamedTensor>& emits) {
  Comparison all;
  for (const NamedTensor& want : c.emits) {
    const auto got = std::find_if(emits.begin(), emits.end(),
                                  [&](const NamedTensor& e) { return e.name == want.name; });
    if (got == emits.end()) {
      std::string paths;
      for (const NamedTensor& emit : emits) paths += " '" + emit.name + "'";
      return {"no emit '" + want.name + "' among" + (paths.empty() ? " none" : paths)};
    }
    const Comparison one = compare_tensors(got->value, want.value, c.tolerance);
    all.largest = std::max(all.largest, one.largest);
    if (!one.ok()) return {"'" + want.name + "' " + one.reason, all.largest};
  }
  if (!c.emits.empty() && emits.size() != c.emits.size()) {
    return {std::to_string(emits.size()) + " emits, want " + std::to_string(c.emits.size())};
  }
  return all;
}

// The announced step differences whose condition is selected by `is_meant`.
std::string announced(const Layer& layer, const std::function<bool(int32_t)>& is_meant) {
  std::string text;
  for (const sl_step_difference& difference : layer.step_differences()) {
    if (!is_meant(difference.condition)) continue;
    text += (text.empty() ? "" : " | ") + step_difference_text(difference);
  }
  return text;
}

void check_layer_wise(const Case& c, const Tensor& y, Checker& checker) {
  checker.run("output spec", [&] { return check_output_spec(c, y); });
  if (c.output) {
    checker.run("layer output",
                [&] { return compare_tensors(fill_invalid(y, 0), *c.output, c.tolerance); });
  }
  if (!c.emits.empty() || !c.output) {
    checker.run("emits", [&] {
      std::vector<NamedTensor> emits;
      const Tensor with_emits = apply(*c.layer, c.input, &emits);
      const Comparison same = compare_bits(with_emits, y);
      return same.ok() ? check_emits(c, emits) : same;
    });
  }
  if (c.test_padding_invariance) {
    checker.run(
        "layer padding invariance",
        [&] {
          const int64_t steps = 4 * c.layer->block_size();
          return compare_padded(c, apply(*c.layer, pad_with_poison(c, steps)), y);
        },
        announced(*c.layer,
                  [](int32_t condition) { return condition == SL_STEP_DIFFERENCE_PADDING; }));
  }
  if (c.test_batching) {
    checker.run("layer batching invariance", [&] {
      return compare_sequences(strip_batch(apply(*c.layer, pad_with_garbage_items(c))), y,
                               c.tolerance);
    });
  }
}

Comparison run_and_compare(const Case& c, const Input& input, const Tensor& want, bool batched,
                           int64_t blocks_per_step) {
  Stepper::Options options;
  options.blocks_per_step = blocks_per_step;
  Stepper stepper(*c.layer, input, options);
  Tensor y = stepper.run_all();
  if (batched) y = strip_batch(y);
  return compare_sequences(y, want, c.tolerance);
}

// Without latency, the emits of steps and those of the layer-wise run have equal positions in time.
Comparison check_step_emits(const Case& c, const Tensor& y_step) {
  Stepper::Options options;
  options.with_emits = true;
  Stepper stepper(*c.layer, c.input, options);
  if (Comparison same = compare_bits(stepper.run_all(), y_step); !same.ok()) return same;
  if (stepper.allocations() != 0) {
    return {std::to_string(stepper.allocations()) + " heap calls or locks in steps with emits"};
  }
  Comparison all;
  if (c.layer->input_latency() != 0 || c.layer->output_latency() != 0) {
    return all;
  }
  std::vector<NamedTensor> layer_emits;
  apply(*c.layer, c.input, &layer_emits);
  const Input longer = pad_with_poison(c, c.layer->block_size());
  const std::vector<NamedTensor> longer_emits =
      make_emits(*c.layer, SL_MODE_LAYER, longer.x, longer.constants);
  for (size_t i = 0; i < layer_emits.size(); ++i) {
    const Tensor& want = layer_emits[i].value;
    const Tensor& got = stepper.emits().at(i).value;
    // The emits of an attention over a cache and over the whole sequence differ in the number of
    // keys.
    const auto same_channels = [&](const Tensor& other) {
      return want.dims.size() == other.dims.size() &&
             std::equal(want.dims.begin() + 2, want.dims.end(), other.dims.begin() + 2);
    };
    const bool comparable =
        !want.is_array && same_channels(got) && same_channels(longer_emits.at(i).value);
    if (!comparable) continue;
    const Comparison one = compare_sequences(got, want, c.tolerance);
    all.largest = std::max(all.largest, one.largest);
    if (!one.ok()) return {"'" + layer_emits[i].name + "' " + one.reason, all.largest};
  }
  return all;
}

// Runs the first `blocks` of the input in one call, saves and loads the stream, and runs the rest
// in steps.
Comparison check_prefix(const Case& c, int64_t blocks) {
  Stepper whole(*c.layer, c.input), stepper(*c.layer, c.input);
  const int64_t end = whole.num_steps();
  if (blocks == 0) return {};
  const Comparison prefix =
      compare_sequences(stepper.prefill(blocks), whole.run(0, blocks), c.tolerance);
  if (!prefix.ok()) return {"prefix: " + prefix.reason, prefix.largest};
  if (blocks == end) return prefix;
  Stepper loaded(*c.layer, c.input);
  loaded.load(stepper.save());
  return compare_sequences(loaded.run(blocks, end), whole.run(blocks, end), c.tolerance);
}

// Whether an item has invalid steps before valid ones.
bool has_holes(const Tensor& x) {
  for (int64_t b = 0; b < x.batch(); ++b) {
    for (int64_t t = 1; t < x.time(); ++t) {
      if (x.valid(b, t) && !x.valid(b, t - 1)) return true;
    }
  }
  return false;
}

// The library's reason why steps differ from the layer-wise run for this input; empty if they do
// not.
std::string announced_of_steps(const Layer& layer, const Input& input) {
  const bool holes = has_holes(input.x);
  return announced(layer, [&](int32_t condition) {
    return condition == SL_STEP_DIFFERENCE_ALWAYS ||
           (condition == SL_STEP_DIFFERENCE_HOLES && holes);
  });
}

// Compares values as compare_sequences does, but throws if dtype or channels differ: an announced
// difference allows other values, never another spec.
Comparison compare_steps(const Tensor& got, const Tensor& want, Tolerance tolerance) {
  Comparison result = compare_sequences(got, want, tolerance);
  const bool same_spec = got.dtype == want.dtype && got.dims.size() == want.dims.size() &&
                         std::equal(got.dims.begin() + 2, got.dims.end(), want.dims.begin() + 2);
  if (!same_spec) throw std::runtime_error(result.reason);
  return result;
}

void check_step_wise(const Case& c, const Tensor& y, Checker& checker) {
  Tensor y_step;
  int64_t blocks = 0;
  const std::string why_not = announced_of_steps(*c.layer, c.input);
  const bool same = checker.run(
      "layer = step",
      [&] {
        Stepper stepper(*c.layer, c.input);
        blocks = stepper.num_steps();
        y_step = stepper.run_all();
        return compare_steps(y_step, y, c.tolerance);
      },
      why_not);
  if (y_step.dims.empty()) return;  // steps cannot run, and an earlier check has said so
  if (c.test_2x_step) {
    // Steps that differ from the layer-wise run still agree with each other, whatever the size of
    // their blocks. Late queries are an exception: past the end of all streamed keys, they get a
    // mean over the keys of one call.
    checker.run(
        same ? "layer = step at 2x block" : "step at 2x block = step",
        [&] { return run_and_compare(c, c.input, same ? y : y_step, false, 2); },
        c.input.constants.empty() ? "" : why_not);
  }
  checker.run("calls of many blocks", [&] { return check_call_sizes(c, y_step); });
  if (c.test_padding_invariance) {
    checker.run("step padding invariance", [&] {
      const int64_t steps = 4 * c.layer->block_size();
      return run_and_compare(c, pad_with_poison(c, steps), y_step, false, 1);
    });
  }
  if (c.test_batching) {
    checker.run("step batching invariance",
                [&] { return run_and_compare(c, pad_with_garbage_items(c), y_step, true, 1); });
  }
  checker.run("layer-wise prefix, then steps", [&] { return check_prefix(c, (blocks + 1) / 2); });
  const bool emits = !make_emits(*c.layer, SL_MODE_LAYER, c.input.x, c.input.constants).empty();
  if (emits) checker.run("step emits", [&] { return check_step_emits(c, y_step); });
  for (const StateCheck& test : state_checks()) {
    checker.run(test.name, [&] { return test.run(*c.layer, c.input); });
  }
}

Comparison check_not_steppable(const Case& c) {
  const std::vector<sl_constant> constants = views(c.input.constants);
  sl_status status = SL_STATUS_OK;
  try {
    State(*c.layer,
          sequence_layers::state_options(channel_spec(c.input.x), c.input.x.batch(), 0, constants));
  } catch (const Error& error) {
    status = error.status();
  }
  if (status == SL_STATUS_UNSUPPORTED) return {};
  return {std::string("not steppable, but sl_state_alloc says ") + sl_status_name(status)};
}

// Checks masks with holes: values of invalid steps change nothing, and steps agree with the
// layer-wise run.
void check_holes(const Case& c, bool steps, Checker& checker) {
  const auto masked =
      masked_inputs(c.input, [&](sl_dtype dtype) { return pad_value_of(c, dtype); });
  if (!masked) return;
  Tensor y;
  checker.run("holes: layer padding invariance", [&] {
    y = apply(*c.layer, masked->zeros);
    return compare_sequences(apply(*c.layer, masked->poisoned), y, c.tolerance);
  });
  if (!steps || y.dims.empty()) return;
  Case holes = c;
  holes.input = masked->poisoned;
  Tensor y_step;
  int64_t blocks = 0;
  checker.run(
      "holes: layer = step",
      [&] {
        Stepper stepper(*c.layer, masked->zeros);
        blocks = stepper.num_steps();
        y_step = stepper.run_all();
        return compare_steps(y_step, y, c.tolerance);
      },
      announced_of_steps(*c.layer, masked->zeros));
  if (y_step.dims.empty()) return;
  checker.run("holes: step padding invariance",
              [&] { return run_and_compare(holes, holes.input, y_step, false, 1); });
  checker.run("holes: layer-wise prefix, then steps",
              [&] { return check_prefix(holes, (blocks + 1) / 2); });
  for (const StateCheck& test : state_checks()) {
    if (test.with_holes)
      checker.run("holes: " + test.name, [&] { return test.run(*c.layer, holes.input); });
  }
}

// Some layers step only in a stream that is created with a maximum length.
bool can_step(const Case& c) {
  if (c.layer->supports_step()) return true;
  try {
    const Stepper stepper(*c.layer, c.input);
    return true;
  } catch (const Error& error) {
    if (error.status() == SL_STATUS_UNSUPPORTED) return false;
    throw;
  }
}

void check_receptive_field(const Case& c, Checker& checker) {
  Check check{"receptive field", "", 0, ""};
  const json declared = read_metadata(*c.layer)["receptive_field"];
  if (declared.is_object()) {  // the layer may also correctly declare none
    check.note = declared["error"];
    return checker.add(std::move(check));
  }
  try {
    const Probe probe = probe_receptive_field(*c.layer, c.input, c.tolerance, c.on_progress);
    check.reason = probe.reason;
    check.note = probe.note;
  } catch (const std::exception& error) {
    check.reason = error.what();
  }
  checker.add(std::move(check));
}

void check_all(const Case& c, Report& report, Checker& checker) {
  checker.run("metadata", [&] { return check_metadata(c); });
  Tensor y;
  checker.run("layer runs", [&] {
    y = apply(*c.layer, c.input);
    return Comparison{};  // an output without steps is correct too
  });
  if (!report.checks.back().ok()) return;
  check_layer_wise(c, y, checker);
  if (!c.layer->supports_step()) {
    checker.run("stepping is refused", [&] { return check_not_steppable(c); });
  }
  const bool steps = can_step(c);
  if (steps) check_step_wise(c, y, checker);
  check_holes(c, steps, checker);
  if (c.probe_receptive_field && is_floating(c.input.x.dtype)) check_receptive_field(c, checker);
}

}  // namespace

bool Report::ok() const {
  return std::all_of(checks.begin(), checks.end(), [](const Check& c) { return c.ok(); });
}

bool Report::has_expected() const {
  return std::any_of(checks.begin(), checks.end(), [](const Check& c) { return c.is_expected(); });
}

std::string Report::failures() const {
  std::string text;
  for (const Check& check : checks) {
    if (!check.ok()) text += (text.empty() ? "" : " | ") + check.name + ": " + check.reason;
  }
  return text;
}

namespace {

template <typename Fn>
Report report_of(const Case& c, Fn&& fn) {
  Report report;
  Checker checker(c, report);
  try {
    fn(report, checker);
  } catch (const std::exception& error) {
    checker.add({"contract", error.what(), 0, ""});
  }
  return report;
}

}  // namespace

Report check_contract(const Case& c) {
  return report_of(c, [&](Report& report, Checker& checker) { check_all(c, report, checker); });
}

Report check_prefixes(const Case& c) {
  return report_of(c, [&](Report&, Checker& checker) {
    const int64_t blocks = can_step(c) ? Stepper(*c.layer, c.input).num_steps() : 0;
    for (int64_t i = 1; i <= blocks; ++i) {
      checker.run("layer-wise prefix of " + std::to_string(i) + " blocks, then steps",
                  [&] { return check_prefix(c, i); });
    }
  });
}

Report check_slots(const Case& c) {
  return report_of(c, [&](Report&, Checker& checker) {
    if (!can_step(c)) return;
    const auto run = [&](const std::string& name, const Input& input,
                         const Stepper::Options& options) {
      checker.run(name, [&] { return check_slots(*c.layer, input, options, c.test_batching); });
    };
    Stepper::Options options;
    run("slots", c.input, options);
    if (c.test_2x_step) {
      Stepper::Options two = options;
      two.blocks_per_step = 2;
      run("slots at 2x block", c.input, two);
    }
    options.ends = options.with_emits = true;
    run("slots of streams with an end and emits", c.input, options);
    const auto masked =
        masked_inputs(c.input, [&](sl_dtype dtype) { return pad_value_of(c, dtype); });
    if (masked) run("holes: slots", masked->poisoned, Stepper::Options());
  });
}

Tolerance case_tolerance(double relative, double absolute, bool half_precision) {
  const double least = half_precision ? 1e-2 : 1e-5;
  return {std::max(relative, least), std::max(absolute, least)};
}

bool uses_half_precision(const json& config) {
  if (!config.is_structured()) return false;
  for (const auto& [key, value] : config.items()) {
    const bool is_dtype = config.is_object() && key.size() >= 5 && key.ends_with("dtype");
    if (is_dtype && (value == "bfloat16" || value == "float16")) return true;
    if (uses_half_precision(value)) return true;
  }
  return false;
}

}  // namespace sl::testing
