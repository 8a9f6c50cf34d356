#include "combinators/chain.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include "combinators/pieces.h"
#include "core/profile.h"
#include "layers/epilogue.h"

namespace sl {

std::vector<bool> read_share_scope(Config& config, size_t count) {
  config.note("share_scope", "true, false or a list of them", "false");
  const Json* value = config.raw("share_scope");
  if (!value) return std::vector<bool>(count, false);
  if (value->is_boolean()) return std::vector<bool>(count, value->get<bool>());
  if (value->is_array() && value->empty()) return std::vector<bool>(count, false);
  const bool fits = value->is_array() && value->size() == count &&
                    std::ranges::all_of(*value, [](const Json& v) { return v.is_boolean(); });
  if (!fits)
    config.error("share_scope",
                 fmt::format("expected true, false, or a list of {} of them", count));
  return value->get<std::vector<bool>>();
}

std::vector<std::string> emit_keys(const std::vector<const Layer*>& layers) {
  std::vector<std::string> keys;
  std::unordered_set<std::string> taken;
  std::unordered_map<std::string, int> numbers;  // the last number given to each name
  for (const Layer* layer : layers) {
    std::string key = layer->name();
    while (!taken.insert(key).second)
      key = layer->name() + "_" + std::to_string(++numbers[layer->name()]);
    keys.push_back(std::move(key));
  }
  return keys;
}

namespace {

// Lets a layer do the work of the one behind it, and returns that work, or nothing if it cannot.
std::optional<Epilogue> take_over(Layer* layer, const Layer& next) {
  auto* taker = dynamic_cast<TakesEpilogue*>(layer);
  const auto* giver = dynamic_cast<const HasEpilogue*>(&next);
  if (!taker || !giver) return std::nullopt;
  std::optional<Epilogue> epilogue = giver->epilogue();
  if (epilogue && !taker->take(*epilogue)) epilogue.reset();
  return epilogue;
}

}  // namespace

Chain::Chain(Layers layers) : layers_(std::move(layers)) {
  Layer* previous = nullptr;
  for (const auto& layer : layers_) {
    output_ratio_ = output_ratio_ * layer->output_ratio();
    if (const auto epilogue = take_over(previous, *layer)) {
      links_.back().folded.push_back({layer.get(), flop_of(*epilogue)});
      continue;
    }
    previous = layer.get();
    const Link link{layer.get(), layer->returns_view(), layer->in_place(), {}, {}, 0};
    // A layer that works in place still needs an output of its own if its input is the chain's.
    const bool stays = link.returns_view || (link.in_place && working_layers_ > 0);
    if (!stays) ++working_layers_;
    links_.push_back(link);
  }
  find_pieces();
}

void Chain::find_pieces() {
  std::vector<const Layer*> layers;
  for (const Link& link : links_) layers.push_back(link.layer);
  size_t count = 0;
  for (size_t i = 0; i < links_.size(); i += std::max(count, size_t{1})) {
    const auto pieces = std::span(layers).subspan(i);
    count = count_in_pieces(pieces);
    if (count < 2) continue;
    links_[i].pieces.assign(pieces.begin(), pieces.begin() + static_cast<std::ptrdiff_t>(count));
    links_[i].working_pieces = 1;
    for (size_t k = 1; k < count; ++k) links_[i].working_pieces += !links_[i + k].in_place;
  }
}

std::vector<const Layer*> Chain::layers() const {
  std::vector<const Layer*> out;
  for (const auto& layer : layers_) out.push_back(layer.get());
  return out;
}

int64_t Chain::block_size() const {
  // A layer of block size 1 that changes the rate (and so cannot step) can make a later layer's
  // block correspond to a fraction of an input step. Ratios keep that exact, and the common
  // multiple taken here is a whole number of steps.
  int64_t block = 1;
  Ratio ratio;
  for (const auto& layer : layers_) {
    const Ratio here = Ratio(block) * ratio;
    const int64_t needed = checked_lcm(here.numerator(), layer->block_size());
    block = (Ratio(needed) * ratio.inverse()).numerator();
    ratio = ratio * layer->output_ratio();
  }
  return block;
}

bool Chain::supports_step() const {
  return std::ranges::all_of(layers_, [](const auto& layer) { return layer->supports_step(); });
}

bool Chain::supports_finite_step() const {
  return std::ranges::all_of(layers_,
                             [](const auto& layer) { return layer->supports_finite_step(); });
}

int64_t Chain::accumulated_input_latency(int64_t latency) const {
  for (auto it = layers_.rbegin(); it != layers_.rend(); ++it)
    latency = (*it)->accumulated_input_latency(latency);
  return latency;
}

int64_t Chain::accumulated_output_latency(int64_t latency) const {
  for (const auto& layer : layers_) latency = layer->accumulated_output_latency(latency);
  return latency;
}

EarlySteps Chain::follow(const EarlySteps& before, StepDifferences& differences) const {
  EarlySteps steps = before;
  for (const auto& layer : layers_) {
    differences.within(layer->name(), [&] { steps = layer->follow(steps, differences); });
  }
  return steps;
}

ReceptiveFields Chain::receptive_field_per_step() const {
  // Fields repeat after whole cycles of all layers, `period` steps of the chain's input. Other
  // entries repeat some of these, and do no harm.
  size_t cycle = 1;
  Ratio made, period;
  std::vector<ReceptiveFields> each;  // asked for once, or deep nesting would multiply the calls
  for (const auto& layer : layers_) {
    each.push_back(layer->receptive_field_per_step());
    cycle = common_cycle(cycle, each.back().size());
    made = made * layer->output_ratio();
    const Ratio own = Ratio(static_cast<int64_t>(each.back().size())) * made.inverse();
    period = Ratio(checked_lcm(period.numerator(), own.numerator()),
                   std::gcd(period.denominator(), own.denominator()));
  }
  cycle = common_cycle(cycle, static_cast<size_t>((period * made).numerator()));
  ReceptiveFields fields(cycle, StepRange{0, 0});
  Ratio ratio;
  for (size_t i = layers_.size(); i-- > 0;) {
    fields = precede(fields, ratio, each[i], layers_[i]->output_ratio());
    ratio = ratio * layers_[i]->output_ratio();
  }
  return fields;
}

ChannelSpec Chain::output_spec(const ChannelSpec& input, const Constants& constants) const {
  ChannelSpec spec = input;
  for (const auto& layer : layers_) spec = layer->output_spec(spec, constants);
  return spec;
}

std::vector<ChannelSpec> Chain::inputs(const ChannelSpec& input, const Constants& constants) const {
  std::vector<ChannelSpec> specs;
  ChannelSpec spec = input;
  for (const auto& layer : layers_) {
    specs.push_back(spec);
    if (layer != layers_.back()) spec = layer->output_spec(spec, constants);
  }
  return specs;
}

int64_t Chain::output_length(int64_t time, const ChannelSpec& input,
                             const Constants& constants) const {
  ChannelSpec spec = input;
  for (const auto& layer : layers_) {
    time = layer->output_length(time, spec, constants);
    spec = layer->output_spec(spec, constants);
  }
  return time;
}

std::optional<ChannelSpec> Chain::implied_input() const {
  return layers_.empty() ? std::nullopt : layers_.front()->implied_input();
}

bool Chain::returns_view() const { return working_layers_ == 0; }

void Chain::declare(Declaration& declaration, const SequenceSpec& input,
                    const std::vector<std::string>& keys) const {
  SequenceSpec spec = input;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = *layers_[i];
    declaration.within(layer.name(), keys[i], [&] { layer.declare(declaration, spec); });
    spec = layer.output(spec, declaration.constants());
  }
}

// Lets the layer work in place on x, which lies on `side`; false if it cannot on this x.
bool Chain::overwrite(Run& run, const Layer& layer, const Sequence& x, Side side) {
  return run.on_side(side, [&] { return layer.overwrite(run, x); });
}

void Chain::list_folded(const Run& run, const Link& link, const Sequence& y) {
  Profile* const profile = run.parallel().profile();
  if (!profile) [[likely]]
    return;
  for (const auto& [layer, flop] : link.folded) {
    profile->list_folded(layer, layer->type(), layer->name(), link.layer, flop * y.size());
  }
}

Sequence Chain::run(Run& run, const Sequence& x) const {
  const Side last = run.side();
  Sequence current = x;
  bool owned = false;     // whether `current` lies in the workspace, on `side` from `base` on
  bool writable = false;  // whether its values lie there too and are not a view of the input
  Side side = last;
  Stack::Mark base;
  size_t remaining = working_layers_;
  for (size_t i = 0; i < links_.size(); ++i) {
    const Link& link = links_[i];
    if (writable && link.in_place && overwrite(run, *link.layer, current, side)) continue;
    const bool in_pieces = !link.pieces.empty() && pay_in_pieces(run, link.pieces, current);
    const size_t working = in_pieces ? link.working_pieces : 1;
    // Layers write to alternating sides, beginning so that the last one writes to the side of the
    // chain's output.
    const bool is_last_side = (remaining - working) % 2 == 0;
    const Side target = owned ? other(side) : (is_last_side ? last : other(last));
    const Stack::Mark mark = run.workspace().on(target).mark();
    const Sequence y =
        in_pieces ? run.on_side(target, [&] { return run_in_pieces(run, link.pieces, current); })
                  : call(run, *link.layer, current, target);
    if (in_pieces) i += link.pieces.size() - 1;
    if (!link.folded.empty()) list_folded(run, link, y);
    if (!link.returns_view) remaining -= working;
    if (y.values == current.values && y.mask == current.mask) {
      run.workspace().on(target).release(mark);
      current = y;
      continue;
    }
    if (owned) run.workspace().on(side).release(base);
    writable = run.workspace().on(target).made_since(mark, y.values);
    current = y;
    owned = true;
    side = target;
    base = mark;
  }
  if (!owned || side == last) return current;
  // A layer returned its input although it may make a new sequence, so the result lies on the other
  // side and is copied.
  const Sequence out = run.output_like(current, current.spec());
  std::memcpy(out.values, current.values, current.bytes());
  return out;
}

}  // namespace sl
