// Graph: layers that read each other's outputs by name. Each runs once, and branches of different
// latencies are delayed until they meet.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "combinators/chain.h"
#include "ops/combine.h"

namespace sl {
namespace {

constexpr const char* kInput = "input";

// A node as its config describes it.
struct NodeFields {
  explicit NodeFields(Config config)
      : path(config.path()),
        name(config.string("name")),
        layer(config.nested("layer")),
        inputs(read_inputs(config)),
        combination(ops::read_combination(config)),
        emit(config.boolean("emit", false)) {
    if (name.empty() || name == kInput)
      config.error("name", fmt::format("expected a name other than \"{}\"", kInput));
    if (inputs.size() < 2 && config.has("combination"))
      config.error("combination", "a node with one input has nothing to combine");
    config.finish();
  }

  // A name or a list of at least one. Empty if the field is missing.
  static std::vector<std::string> read_inputs(Config& config) {
    const Json* value = config.raw("inputs");
    if (!value) return {};
    const Json list = value->is_array() ? *value : Json::array({*value});
    const auto is_name = [](const Json& name) { return name.is_string(); };
    if (list.empty() || !std::ranges::all_of(list, is_name))
      config.error("inputs", fmt::format("expected names of nodes, got {}", excerpt(*value)));
    return list.get<std::vector<std::string>>();
  }

  std::string path;
  std::string name;
  std::optional<Config> layer;
  std::vector<std::string> inputs;  // empty: the node before
  ops::Combination combination;
  bool emit;
};

// One operation: a layer or, without one, the combination of several values.
struct Operation {
  std::unique_ptr<Layer> layer;
  ops::Combination combination = ops::Combination::kStack;
  std::vector<size_t> inputs;  // value 0 is the input of the graph, operation i makes value i + 1
};

struct EmittedValue {
  size_t value;
  std::string name;
};

// A graph in the order in which it runs.
struct Plan {
  std::vector<Operation> operations;
  std::vector<EmittedValue> emits;  // in the order of their values
  size_t output = 0;
  std::vector<int64_t> readers;    // number of readers of each value, the graph's output included
  std::vector<std::string> names;  // name of each value for messages
};

// Makes the operations of a graph. Where values of different latencies meet, it adds Delays.
class Planner {
 public:
  Planner(std::string path, const Init& init) : path_(std::move(path)), init_(init) {
    values_.push_back({kInput});
    nodes_[kInput] = 0;
  }

  void add(const NodeFields& node) {
    if (nodes_.contains(node.name))
      fail(Code::kConfig, "{}.name (Graph): there is another node \"{}\"", node.path, node.name);
    std::vector<size_t> inputs;
    for (const std::string& name : node.inputs) inputs.push_back(find(name, node.path + ".inputs"));
    if (inputs.empty()) inputs.push_back(last_);
    for (const size_t input : inputs) read_.insert(input);
    std::unique_ptr<Layer> layer;
    if (node.layer) layer = init_.builder.build(*node.layer, init_.weights, node.name);
    align(node, inputs, layer ? layer->block_size() : 1);
    size_t made = inputs[0];
    if (inputs.size() > 1) made = push({nullptr, node.combination, inputs}, node.name);
    if (layer) made = push({std::move(layer), node.combination, {made}}, node.name);
    nodes_[node.name] = last_ = made;
    if (node.emit) plan_.emits.push_back({made, node.name});
  }

  // `output` is the name of a node; if it is empty, the last one.
  Plan finish(const std::string& output) {
    const size_t node = output.empty() ? last_ : find(output, path_ + ".output");
    read_.insert(node);
    for (const EmittedValue& emit : plan_.emits) read_.insert(emit.value);
    for (const auto& [name, value] : nodes_) {
      if (value > 0 && !read_.contains(value))
        fail(Code::kConfig, "{} (Graph): nothing reads the node \"{}\"", path_, name);
    }
    align_outputs(node);
    plan_.readers.assign(values_.size(), 0);
    for (const Operation& operation : plan_.operations)
      for (const size_t input : operation.inputs) ++plan_.readers[input];
    ++plan_.readers[plan_.output];
    for (const Value& value : values_) plan_.names.push_back(value.name);
    return std::move(plan_);
  }

 private:
  struct Value {
    std::string name;
    Ratio ratio = Ratio(1);
    int64_t latency = 0;  // in its own steps
  };

  size_t find(const std::string& name, const std::string& where) const {
    const auto it = nodes_.find(name);
    if (it != nodes_.end()) return it->second;
    std::vector<std::string> names;
    for (const auto& [known, value] : nodes_) names.push_back(known);
    const std::string near = nearest_name(name, names);
    fail(Code::kConfig, "{} (Graph): no node \"{}\" comes before{}", where, name,
         near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near));
  }

  // Replaces the inputs of a node by ones with a common latency, at which a block of the node's
  // layer begins with the first step of a whole run.
  void align(const NodeFields& node, std::vector<size_t>& inputs, int64_t block) {
    const Value first = values_[inputs[0]];
    int64_t latency = 0;
    for (const size_t input : inputs) {
      const Value& value = values_[input];
      if (value.ratio != first.ratio) {
        fail(Code::kConfig,
             "{}.inputs (Graph): expected inputs of equal output ratios, \"{}\" has {}/{} and "
             "\"{}\" {}/{}",
             node.path, first.name, first.ratio.numerator(), first.ratio.denominator(), value.name,
             value.ratio.numerator(), value.ratio.denominator());
      }
      latency = std::max(latency, value.latency);
    }
    latency = round_up(latency, block);
    for (size_t& input : inputs) input = delayed(input, latency);
  }

  // The value at a latency that is not less than its own.
  size_t delayed(size_t value, int64_t latency) {
    const int64_t steps = latency - values_[value].latency;
    if (steps == 0) return value;
    const auto [it, is_new] = delays_.emplace(std::pair(value, steps), 0);
    if (!is_new) return it->second;
    const std::string name = fmt::format("{}_delay_{}", values_[value].name, steps);
    const Json delay = {{"type", "Delay"}, {"length", steps}, {"delay_layer_output", false}};
    auto layer = init_.builder.build(Config(delay, path_), init_.weights, name);
    return it->second = push({std::move(layer), {}, {value}}, name);
  }

  size_t push(Operation operation, const std::string& name) {
    Value made = values_[operation.inputs[0]];
    made.name = name;
    if (operation.layer) {
      made.ratio = made.ratio * operation.layer->output_ratio();
      made.latency = operation.layer->accumulated_output_latency(made.latency);
    }
    plan_.operations.push_back(std::move(operation));
    values_.push_back(std::move(made));
    return values_.size() - 1;
  }

  // The output and the emits of the same ratio get a common latency.
  void align_outputs(size_t output) {
    const Ratio ratio = values_[output].ratio;
    const auto is_aligned = [&](size_t value) { return values_[value].ratio == ratio; };
    int64_t latency = values_[output].latency;
    for (const EmittedValue& emit : plan_.emits) {
      if (is_aligned(emit.value)) latency = std::max(latency, values_[emit.value].latency);
    }
    for (EmittedValue& emit : plan_.emits) {
      if (is_aligned(emit.value)) emit.value = delayed(emit.value, latency);
    }
    plan_.output = delayed(output, latency);
    std::ranges::stable_sort(plan_.emits, {}, &EmittedValue::value);
  }

  std::string path_;
  const Init& init_;
  Plan plan_;
  std::vector<Value> values_;
  std::map<std::string, size_t> nodes_;  // the value of each node
  std::set<size_t> read_;
  std::map<std::pair<size_t, int64_t>, size_t> delays_;
  size_t last_ = 0;
};

// The values of a run. Each stays on its stack of the workspace until nothing reads it any more and
// all that lies above it is gone.
class Values {
 public:
  Values(Run& run, const Plan& plan, const Sequence& x)
      : run_(run),
        plan_(plan),
        all_(run.scratch<Entry>(static_cast<int64_t>(plan.readers.size()))) {
    for (size_t i = 0; i < plan.readers.size(); ++i) all_[i] = Entry{};
    // The input is not the graph's to release.
    all_[0].sequence = x;
    all_[0].readers = plan.readers[0] + 1;
  }

  const Sequence& operator[](size_t value) const { return all_[value].sequence; }

  // Runs operation i, and keeps what it makes.
  void make(size_t i) {
    const Operation& operation = plan_.operations[i];
    const size_t made = i + 1, source = all_[operation.inputs[0]].owner;
    Entry& entry = all_[made];
    if (overwrites(operation, source)) {
      entry.sequence = all_[operation.inputs[0]].sequence;
      keep_view(made, source);
      return;
    }
    const Side side = side_of(made);
    const Stack::Mark mark = run_.workspace().on(side).mark();
    entry.sequence = run_.on_side(side, [&] { return compute(operation); });
    const Sequence& first = all_[operation.inputs[0]].sequence;
    if (entry.sequence.values == first.values && entry.sequence.mask == first.mask) {
      run_.workspace().on(side).release(mark);
      keep_view(made, source);
      return;
    }
    entry.owner = made;
    entry.readers = plan_.readers[made];
    entry.side = side;
    entry.mark = mark;
    entry.is_writable = run_.workspace().on(side).made_since(mark, entry.sequence.values);
    entry.below = top(side);
    top(side) = made;
    for (const size_t input : operation.inputs) --all_[all_[input].owner].readers;
  }

  // Takes back the memory of values that nobody reads any more.
  void release() {
    for (const Side side : {Side::kA, Side::kB}) {
      for (; top(side) > 0 && all_[top(side)].readers == 0; top(side) = all_[top(side)].below)
        run_.workspace().on(side).release(all_[top(side)].mark);
    }
  }

  // The output, on the side of the run.
  Sequence output() {
    const Entry& entry = all_[plan_.output];
    if (entry.owner > 0 && all_[entry.owner].side == run_.side()) return entry.sequence;
    const Sequence y = run_.output_like(entry.sequence, entry.sequence.spec());
    std::memcpy(y.values, entry.sequence.values, y.bytes());
    return y;
  }

 private:
  struct Entry {
    Sequence sequence;
    size_t owner = 0;     // the value whose memory it has
    int64_t readers = 0;  // of the memory, for an owner
    Side side = Side::kA;
    Stack::Mark mark;
    bool is_writable = false;
    size_t below = 0;  // the value below it on its stack; 0: none
  };

  size_t& top(Side side) { return tops_[static_cast<size_t>(side)]; }

  // Lets a layer that works in place have its input, if it alone reads that.
  bool overwrites(const Operation& operation, size_t source) {
    const Entry& owner = all_[source];
    const bool may =
        operation.layer && operation.layer->in_place() && owner.is_writable && owner.readers == 1;
    return may && run_.on_side(owner.side, [&] {
      return operation.layer->overwrite(run_, all_[operation.inputs[0]].sequence);
    });
  }

  // The output goes to the side of the run, other values to the side opposite of an input that can
  // be released then.
  Side side_of(size_t made) {
    if (made == plan_.output) return run_.side();
    for (const size_t input : plan_.operations[made - 1].inputs) {
      const Entry& owner = all_[all_[input].owner];
      if (owner.readers == 1 && top(owner.side) == all_[input].owner) return other(owner.side);
    }
    return other(run_.side());
  }

  Sequence compute(const Operation& operation) {
    const Sequence& first = all_[operation.inputs[0]].sequence;
    if (operation.layer) {
      return run_.mode() == Mode::kLayer ? operation.layer->layer(run_, first)
                                         : operation.layer->step(run_, first);
    }
    const auto count = static_cast<int64_t>(operation.inputs.size());
    auto* inputs = run_.scratch<Sequence>(count);
    for (int64_t i = 0; i < count; ++i)
      inputs[i] = all_[operation.inputs[static_cast<size_t>(i)]].sequence;
    return ops::combine(run_, operation.combination,
                        std::span<const Sequence>(inputs, operation.inputs.size()));
  }

  // `made` is a view of the memory of `owner`, and is read in place of the view that it reads.
  void keep_view(size_t made, size_t owner) {
    all_[made].owner = owner;
    all_[owner].readers += plan_.readers[made] - 1;
  }

  Run& run_;
  const Plan& plan_;
  Entry* all_;
  size_t tops_[2] = {0, 0};
};

class Graph final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config) : path(config.path()), json(read_nodes(config)) {
      for (size_t i = 0; i < json.size(); ++i)
        nodes.emplace_back(Config(json[i], fmt::format("{}.nodes[{}]", path, i)));
      output = config.string("output", "");
    }

    // The nodes with the type that readers of configs ask for.
    static std::vector<Json> read_nodes(Config& config) {
      config.note("nodes", "list of nodes", "");
      const Json* value = config.raw("nodes");
      if (!value || !value->is_array() || value->empty())
        config.error("nodes", "expected a list of at least one node");
      std::vector<Json> nodes;
      for (const Json& node : *value) {
        if (!node.is_object() || node.contains("type")) {
          config.error(fmt::format("nodes[{}]", nodes.size()),
                       fmt::format("expected an object of \"name\", \"layer\" and so on, got {}",
                                   excerpt(node)));
        }
        nodes.push_back(node);
        nodes.back()["type"] = "Graph node";
      }
      return nodes;
    }

    std::string path;
    std::vector<Json> json;  // which the nodes refer to
    std::vector<NodeFields> nodes;
    std::string output;
  };

  Graph(Fields fields, const Init& init) {
    Planner planner(fields.path, init);
    for (const NodeFields& node : fields.nodes) planner.add(node);
    plan_ = planner.finish(fields.output);
    keys_ = emit_keys(children());
  }

  std::vector<const Layer*> children() const override {
    std::vector<const Layer*> out;
    for (const Operation& operation : plan_.operations)
      if (operation.layer) out.push_back(operation.layer.get());
    return out;
  }
  std::vector<ChannelSpec> child_inputs(const ChannelSpec& input,
                                        const Constants& constants) const override {
    const std::vector<ChannelSpec> specs = specs_of(input, constants);
    std::vector<ChannelSpec> out;
    for (const Operation& operation : plan_.operations)
      if (operation.layer) out.push_back(specs[operation.inputs[0]]);
    return out;
  }

  int64_t block_size() const override {
    int64_t block = 1;
    const std::vector<Ratio> ratios = ratios_of();
    for (const Operation& operation : plan_.operations) {
      if (!operation.layer) continue;
      const Ratio ratio = ratios[operation.inputs[0]];
      const int64_t needed =
          checked_lcm((Ratio(block) * ratio).numerator(), operation.layer->block_size());
      block = (Ratio(needed) * ratio.inverse()).numerator();
    }
    return block;
  }
  Ratio output_ratio() const override { return ratios_of()[plan_.output]; }
  bool supports_step() const override {
    return std::ranges::all_of(children(), [](const Layer* l) { return l->supports_step(); });
  }
  bool supports_finite_step() const override {
    return std::ranges::all_of(children(),
                               [](const Layer* l) { return l->supports_finite_step(); });
  }
  int64_t input_latency() const override { return accumulated_input_latency(0); }
  int64_t output_latency() const override { return accumulated_output_latency(0); }
  EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const override {
    return forward<EarlySteps>(
        before,
        [&](const Layer& layer, const EarlySteps& steps) {
          EarlySteps after;
          differences.within(layer.name(), [&] { after = layer.follow(steps, differences); });
          return after;
        },
        // A step is valid only where all inputs are.
        [](const Operation&, const std::vector<EarlySteps>& inputs) {
          EarlySteps all = inputs[0];
          for (const EarlySteps& one : inputs) {
            all.begins_invalid = all.begins_invalid || one.begins_invalid;
            if (!one.valid()) all.made_valid_by.clear();
          }
          return all;
        })[plan_.output];
  }
  ReceptiveFields receptive_field_per_step() const override {
    return forward<TimedFields>(
               {{StepRange{0, 0}}, Ratio(1)},
               [](const Layer& layer, const TimedFields& input) {
                 return seen_through(layer, input);
               },
               [](const Operation&, const std::vector<TimedFields>& inputs) {
                 TimedFields all = inputs[0];
                 for (const TimedFields& one : inputs)
                   all.fields = merge_aligned(all.fields, all.ratio, one.fields, one.ratio);
                 return all;
               })[plan_.output]
        .fields;
  }
  std::optional<ChannelSpec> implied_input() const override {
    for (const Operation& operation : plan_.operations) {
      if (!operation.layer || operation.inputs[0] != 0) continue;
      if (const auto spec = operation.layer->implied_input()) return spec;
    }
    return std::nullopt;
  }

 private:
  // One T for each value, from that of the graph's input: on_layer(layer, input) or
  // on_combination(operation, inputs) makes that of an operation.
  template <typename T, typename OnLayer, typename OnCombination>
  std::vector<T> forward(const T& input, OnLayer&& on_layer, OnCombination&& on_combination) const {
    std::vector<T> values{input};
    for (const Operation& operation : plan_.operations) {
      if (operation.layer) {
        values.push_back(on_layer(*operation.layer, values[operation.inputs[0]]));
        continue;
      }
      std::vector<T> inputs;
      for (const size_t i : operation.inputs) inputs.push_back(values[i]);
      values.push_back(on_combination(operation, inputs));
    }
    return values;
  }
  // Receptive fields of the steps of a value in the input of the graph.
  struct TimedFields {
    ReceptiveFields fields;
    Ratio ratio;
  };
  static TimedFields seen_through(const Layer& layer, const TimedFields& input) {
    ReceptiveFields own = layer.receptive_field_per_step();
    const Ratio ratio = layer.output_ratio();
    // The output repeats after this number of input steps, which is that of whole cycles of both.
    const int64_t steps =
        checked_lcm(static_cast<int64_t>(input.fields.size()),
                    (Ratio(static_cast<int64_t>(own.size())) * ratio.inverse()).numerator());
    const size_t cycle = common_cycle(own.size(), static_cast<size_t>(ratio.floor_times(steps)));
    for (size_t i = 0; own.size() < cycle; ++i) own.push_back(own[i]);
    return {precede(own, ratio, input.fields, input.ratio), input.ratio * ratio};
  }
  std::vector<Ratio> ratios_of() const {
    return forward<Ratio>(
        Ratio(1), [](const Layer& layer, Ratio ratio) { return ratio * layer.output_ratio(); },
        [](const Operation&, const std::vector<Ratio>& inputs) { return inputs[0]; });
  }
  std::vector<ChannelSpec> specs_of(const ChannelSpec& input, const Constants& constants) const {
    return forward<ChannelSpec>(
        input,
        [&](const Layer& layer, const ChannelSpec& spec) {
          return layer.output_spec(spec, constants);
        },
        [](const Operation& operation, const std::vector<ChannelSpec>& inputs) {
          return ops::combined_spec(operation.combination, inputs);
        });
  }

  // The maximum over all ways from the input to the output.
  int64_t do_accumulated_input_latency(int64_t latency) const override {
    std::vector<int64_t> latencies(plan_.operations.size() + 1, 0);
    latencies[plan_.output] = latency;
    for (size_t i = plan_.operations.size(); i-- > 0;) {
      const Operation& operation = plan_.operations[i];
      const int64_t own = operation.layer
                              ? operation.layer->accumulated_input_latency(latencies[i + 1])
                              : latencies[i + 1];
      for (const size_t input : operation.inputs)
        latencies[input] = std::max(latencies[input], own);
    }
    return latencies[0];
  }
  int64_t do_accumulated_output_latency(int64_t latency) const override {
    return forward<int64_t>(
        latency,
        [](const Layer& layer, int64_t steps) { return layer.accumulated_output_latency(steps); },
        [](const Operation&, const std::vector<int64_t>& inputs) {
          return inputs[0];
        })[plan_.output];
  }
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    return specs_of(input, constants)[plan_.output];
  }
  int64_t do_output_length(int64_t time, const ChannelSpec& input,
                           const Constants& constants) const override {
    const std::vector<ChannelSpec> specs = specs_of(input, constants);
    std::vector<int64_t> lengths{time};
    for (const Operation& operation : plan_.operations) {
      const size_t first = operation.inputs[0];
      for (const size_t i : operation.inputs) {
        if (lengths[i] == lengths[first]) continue;
        fail(Code::kShape, "node \"{}\" reads {} steps of \"{}\" and {} of \"{}\"",
             plan_.names[lengths.size()], lengths[first], plan_.names[first], lengths[i],
             plan_.names[i]);
      }
      lengths.push_back(
          operation.layer ? operation.layer->output_length(lengths[first], specs[first], constants)
                          : lengths[first]);
    }
    return lengths[plan_.output];
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    std::vector<SequenceSpec> specs{input};
    auto emit = plan_.emits.begin();
    auto key = keys_.begin();
    const auto emit_made = [&] {
      for (; emit != plan_.emits.end() && emit->value < specs.size(); ++emit)
        declaration.emit(emit->name, specs[emit->value]);
    };
    emit_made();
    for (const Operation& operation : plan_.operations) {
      SequenceSpec spec = specs[operation.inputs[0]];
      if (const Layer* layer = operation.layer.get()) {
        declaration.within(layer->name(), *key++, [&] { layer->declare(declaration, spec); });
        spec = layer->output(spec, declaration.constants());
      } else {
        std::vector<ChannelSpec> inputs;
        for (const size_t i : operation.inputs) inputs.push_back(specs[i].channels);
        spec.channels = ops::combined_spec(operation.combination, inputs);
      }
      specs.push_back(spec);
      emit_made();
    }
  }
  Sequence do_layer(Run& run, const Sequence& x) const override { return run_all(run, x); }
  Sequence do_step(Run& run, const Sequence& x) const override { return run_all(run, x); }

  Sequence run_all(Run& run, const Sequence& x) const {
    Values values(run, plan_, x);
    auto emit = plan_.emits.begin();
    const auto emit_made = [&](size_t last) {
      for (; emit != plan_.emits.end() && emit->value <= last; ++emit)
        run.emit(values[emit->value]);
    };
    emit_made(0);
    for (size_t i = 0; i < plan_.operations.size(); ++i) {
      values.make(i);
      emit_made(i + 1);
      values.release();
    }
    return values.output();
  }

  Plan plan_;
  std::vector<std::string> keys_;
};

SL_REGISTER_LAYER(Graph);

}  // namespace
}  // namespace sl
