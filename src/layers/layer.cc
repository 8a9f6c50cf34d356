#include "layers/layer.h"

#include <algorithm>

#include "core/profile.h"

namespace sl {

std::vector<ChannelSpec> Layer::child_inputs(const ChannelSpec& input,
                                             const Constants& constants) const {
  std::vector<ChannelSpec> out;
  for (const Layer* child : children()) out.push_back(child_input(*child, input, constants));
  return out;
}

int64_t Layer::do_accumulated_input_latency(int64_t input_latency) const {
  return checked_sum(output_ratio().inverse().ceil_times(input_latency), this->input_latency());
}

int64_t Layer::do_accumulated_output_latency(int64_t output_latency) const {
  const Ratio ratio = output_ratio();
  // The missing latency is -latency mod (1 / ratio), here in units of 1 / numerator steps.
  const int64_t missing =
      floor_mod(checked_product(-output_latency, ratio.numerator()), ratio.denominator());
  if (missing != 0) {
    fail(Code::kUnsupported,
         "the step-wise output latency {} of the layers before it is not divisible by its output "
         "ratio {}/{}: insert a Delay of {}/{} steps before it",
         output_latency, ratio.numerator(), ratio.denominator(), missing, ratio.numerator());
  }
  return checked_sum(ratio.floor_times(output_latency), this->output_latency());
}

bool Layer::looks_back() const {
  return std::ranges::any_of(receptive_field_per_step(),
                             [](const ReceptiveField& field) { return field && field->start < 0; });
}

StepDifference Layer::step_difference(const EarlySteps& before) const {
  for (const ConstantSpec& constant : constants()) {
    if (!constant.streamed) continue;
    const StepDifference late = minds_early_steps(
        before,
        fmt::format("reads the constant \"{}\" as it comes along with the input", constant.name),
        fmt::format("delay the steps of \"{}\" by the same number in a stream", constant.name));
    if (!late.reason.empty()) return late;
  }
  if (before.kind == EarlySteps::Kind::kPadding && output_ratio().denominator() > 1) {
    return minds_early_steps(
        before,
        fmt::format("makes {} step{} of {}", output_ratio().numerator(),
                    output_ratio().numerator() == 1 ? "" : "s", output_ratio().denominator()));
  }
  if (before.count % block_size() != 0) {
    return minds_early_steps(
        before, fmt::format("works in blocks of {} steps", block_size()),
        fmt::format("insert a Delay of {} steps with \"delay_layer_output\": false before it",
                    block_size() - before.count % block_size()));
  }
  if (before.valid() && looks_back()) {
    return minds_early_steps(before,
                             fmt::format("looks back at steps before the first, which {} makes "
                                         "valid",
                                         before.made_valid_by),
                             before.cure);
  }
  return {};
}

EarlySteps Layer::follow(const EarlySteps& before, StepDifferences& differences) const {
  differences.add(step_difference(before), type_);
  for (const Layer* child : children())
    differences.within(child->name(), [&] { child->follow(before, differences); });
  EarlySteps after = before;
  if (before.kind != EarlySteps::Kind::kLatency) return after;
  after.count = accumulated_output_latency(before.count);
  if (before.valid() || after.count == 0) return after;
  if (const std::string cure = early_steps_cure(before); !cure.empty()) {
    after.made_valid_by = differences.here(type_);
    after.cure = fmt::format("let {} have {}", after.made_valid_by, cure);
  }
  return after;
}

int64_t Layer::do_output_length(int64_t time, const ChannelSpec&, const Constants&) const {
  return output_ratio().floor_times(time);
}

SequenceSpec Layer::output(const SequenceSpec& input, const Constants& constants) const {
  return naming_errors([&] {
    SequenceSpec out = input;
    out.channels = do_output_spec(input.channels, constants);
    out.time = input.mode == Mode::kStep ? output_ratio().floor_times(input.time)
                                         : do_output_length(input.time, input.channels, constants);
    out.max_length = output_ratio().floor_times(input.max_length);
    out.bytes();  // fails if the size overflows
    return out;
  });
}

std::string Layer::path() const {
  std::string path = name_;
  for (const LayerPlace* at = parent_.get(); at && at->parent; at = at->parent.get()) {
    path.insert(0, at->name + ".");
  }
  return path;
}

std::string Layer::label() const { return quoted_layer(type_, path()); }

// Adds the path of the layer to an error. A layer under construction has none yet, and the builder
// adds its path in the config.
void Layer::locate(Error& error) const {
  if (!type_.empty()) error.locate(label());
}

void Layer::check_output(const Run& run, const Sequence& x, const Sequence& y) const {
  const bool steps = run.mode() == Mode::kStep;
  SequenceSpec announced{y.spec(), x.batch, y.time};
  if (run.may_allocate()) announced.channels = output_spec(x.spec(), run.constants());
  if (steps) {
    announced.time = output_ratio().floor_times(x.time);
  } else if (run.may_allocate()) {
    announced.time = output_length(x.time, x.spec(), run.constants());
  }
  if (y.spec() != announced.channels || y.batch != announced.batch || y.time != announced.time) {
    fail(Code::kInternal, "made {} steps of {} for a batch of {}: announced {} of {} for {}",
         y.time, to_string(y.spec()), y.batch, announced.time, to_string(announced.channels),
         announced.batch);
  }
  if (y.steps() > 0 && (!y.mask || (!y.values && y.bytes() > 0)))
    fail(Code::kInternal, "made a sequence without values or mask");
}

Layer::Recording::Recording(const Layer& layer, const Sequence& x, Profile& profile)
    : profile_(profile),
      parent_(profile.enter(&layer, layer.type(), layer.name())),
      counts_(layer.children().empty()) {
  count(x);
}

Layer::Recording::~Recording() { profile_.leave(parent_); }

void Layer::Recording::count(const Sequence& sequence) const {
  if (counts_) profile_.count(0, static_cast<int64_t>(sequence.bytes()));
}

}  // namespace sl
