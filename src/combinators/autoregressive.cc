// Autoregressive: layers whose input is x and, after it on the first channel axis, what they made
// of the block before (reference: tensorflow.recurrent.Autoregressive).
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "combinators/chain.h"
#include "ops/initial_state.h"

namespace sl {
namespace {

// One layer, a list of them, or none.
struct ChainFields {
  ChainFields(Config& config, const char* field, const char* accepts, const char* otherwise) {
    config.note(field, accepts, otherwise);
    const Json* value = config.raw(field);
    is_list = value && value->is_array();
    if (is_list) {
      layers = config.list(field);
    } else if (std::optional<Config> one = config.nested(field)) {
      layers.push_back(*std::move(one));
    }
  }
  bool is_list = false;
  std::vector<Config> layers;
};

class Autoregressive final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : where(config.path()),
          layer(config, "layer", "config or list of configs", ""),
          feedback(config, "feedback_layer", "config, list of configs or null", "null") {
      if (layer.layers.empty() && !layer.is_list) config.nested_required("layer");
    }
    std::string where;
    ChainFields layer, feedback;
  };

  Autoregressive(Fields fields, const Init& init)
      : body_(build(fields.layer, "layer", init.weights, init)),
        feedback_(build_feedback(fields, init)),
        body_keys_(emit_keys(body_.layers())),
        feedback_keys_(emit_keys(feedback_.layers())) {
    check(fields.where + ".layer (Autoregressive)", body_);
    check(fields.where + ".feedback_layer (Autoregressive)", feedback_);
    const std::string where = fields.where + " (Autoregressive)";
    const int64_t block = body_.block_size(), made = body_.output_ratio().floor_times(block);
    if (made < 1 || block % made != 0) {
      fail(Code::kConfig,
           "{}: expected layers that make one step, or one of each so many, they make {} of {}",
           where, made, block);
    }
    if (feedback_.output_ratio() != Ratio(1) || made % feedback_.block_size() != 0) {
      fail(
          Code::kConfig,
          "{}: expected a feedback layer of output ratio 1 that takes blocks of {}, it is of {}/{} "
          "and takes blocks of {}",
          where, made, feedback_.output_ratio().numerator(), feedback_.output_ratio().denominator(),
          feedback_.block_size());
    }
    // Each takes twice the stack of other layers, and real models have two at most.
    constexpr int kMostNested = 4;
    if (nested(body_.layers()) >= kMostNested || nested(feedback_.layers()) >= kMostNested) {
      fail(Code::kConfig, "{}: at most {} Autoregressive nest within each other", where,
           kMostNested);
    }
    // Else each would ask what it holds twice, and that again.
    if (!body_.implied_input() && nested(body_.layers()) > 0) {
      fail(Code::kConfig,
           "{}: its layers hold another Autoregressive: expected a first layer that tells what it "
           "takes",
           where);
    }
    implied_input_ = without_feedback();
  }

  std::vector<const Layer*> children() const override {
    std::vector<const Layer*> all = body_.layers();
    for (const Layer* layer : feedback_.layers()) all.push_back(layer);
    return all;
  }
  std::vector<ChannelSpec> child_inputs(const ChannelSpec& input,
                                        const Constants& constants) const override {
    const Specs specs = this->specs(input, constants);
    std::vector<ChannelSpec> all = body_.inputs(specs.joined, constants);
    for (const ChannelSpec& spec : feedback_.inputs(specs.output, constants)) all.push_back(spec);
    return all;
  }
  int64_t block_size() const override { return body_.block_size(); }
  Ratio output_ratio() const override { return body_.output_ratio(); }
  ReceptiveFields receptive_field_per_step() const override {
    ReceptiveFields fields = body_.receptive_field_per_step();
    for (ReceptiveField& field : fields) {
      if (field) field->start = -kInfinite;
    }
    return fields;
  }
  // What is fed back of an invalid step is zero, as before the first: only where blocks begin, and
  // steps that are valid, tell.
  EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const override {
    differences.add(step_difference(before), type());
    const EarlySteps after = body_.follow(before, differences);
    differences.within("feedback_layer", [&] { feedback_.follow(after, differences); });
    return after;
  }
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    return specs(input, constants).output;
  }
  std::optional<ChannelSpec> implied_input() const override { return implied_input_; }
  int64_t do_output_length(int64_t time, const ChannelSpec&, const Constants&) const override {
    return checked_product(ceil_div(time, block_size()), made_of_block());
  }

  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    const Specs specs = this->specs(input.channels, declaration.constants());
    const Declaration block = declare_block(specs, input.batch, declaration.constants());
    declaration.plan(std::make_shared<const BlockPlan>(
        BlockPlan{block.states().size(), block.plans().size(), block.emits()}));
    for (const StepPlan& plan : block.plans()) declaration.plan(plan);
    for (const StateSpec& spec : block.states()) declaration.state(spec);
    Shape last{input.batch, made_of_block()};
    for (const int64_t size : specs.feedback.shape) last.push_back(size);
    declaration.state("feedback", specs.feedback.dtype, last);
    for (const EmitSpec& emit : block.emits()) {
      SequenceSpec all = emit.sequence;
      all.time = checked_product(all.time, ceil_div(input.time, block_size()));
      all.mode = input.mode;
      declaration.emit(emit.path, all);
    }
  }

  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Specs specs = this->specs(x.spec(), run.constants());
    if (x.time == 0) return run.output(specs.output, x.batch, 0);
    const Declaration block = declare_block(specs, x.batch, run.constants());
    const StateLayout layout = layout_of(block.states());
    const StateTensors state{block.states(), layout.offsets,
                             run.scratch<std::byte>(static_cast<int64_t>(layout.bytes))};
    for (size_t i = 0; i < state.size(); ++i) ops::initialise(state[i], 0, x.batch);
    const Sequence last = run.scratch_sequence(specs.feedback, x.batch, made_of_block());
    std::fill_n(last.values, last.bytes(), std::byte{0});
    return unroll(run, x, specs,
                  {state, block.plans(), last, take_emits(run, x.batch, block.emits())});
  }

  Sequence do_step(Run& run, const Sequence& x) const override {
    const Specs specs = this->specs(x.spec(), run.constants());
    const auto& block = run.plan<BlockPlan>();
    const std::span<const StepPlan> plans = run.take_plans(block.plans);
    const StateTensors state = run.take_states(block.states);
    Sequence last;
    last.dtype = specs.feedback.dtype;
    last.channels = specs.feedback.shape;
    last.batch = x.batch;
    last.time = made_of_block();
    last.values = run.state<std::byte>("feedback");
    return unroll(run, x, specs, {state, plans, last, take_emits(run, x.batch, block.emits)});
  }

 private:
  struct Specs {
    ChannelSpec joined;  // what the layers take
    ChannelSpec output;
    ChannelSpec feedback;
  };

  // State tensors and objects that the layers declare for a block, and what they emit in one.
  struct BlockPlan {
    size_t states;
    size_t plans;
    std::vector<EmitSpec> emits;
  };

  // What the layers emit: of all blocks, where that is wanted, and of one. An item has so many
  // bytes and steps of a block.
  struct Emit {
    Sequence all;
    Sequence block;
    size_t bytes;
    size_t steps;
  };

  // The layers' state, what they made of the last block, without a mask, and what they emit.
  struct Memory {
    StateTensors state;
    std::span<const StepPlan> plans;
    Sequence last;
    std::span<const Emit> emits;
  };

  static Chain build(const ChainFields& fields, const std::string& name, const WeightScope& weights,
                     const Init& init) {
    if (fields.is_list) {
      return Chain(init.builder.build_list(fields.layers, weights,
                                           std::vector<bool>(fields.layers.size(), false)));
    }
    Layers layers;
    for (const Config& config : fields.layers)
      layers.push_back(init.builder.build(config, weights, name));
    return Chain(std::move(layers));
  }

  // As of a Residual's shortcut: one layer stands in the place of that name, a list below it.
  static Chain build_feedback(const Fields& fields, const Init& init) {
    if (!fields.feedback.is_list)
      return build(fields.feedback, "feedback_layer", init.weights, init);
    init.weights.reserve("feedback_layer", fields.where + ".feedback_layer");
    return build(fields.feedback, "feedback_layer", init.weights.child("feedback_layer"), init);
  }

  static bool reads_stream(const Layer& layer) {
    const auto is_streamed = [](const ConstantSpec& spec) { return spec.streamed; };
    return std::ranges::any_of(layer.constants(), is_streamed) ||
           std::ranges::any_of(layer.children(), [](const Layer* l) { return reads_stream(*l); });
  }

  // How many of this type are within each other, at most, in the layers.
  static int nested(const std::vector<const Layer*>& layers) {
    int most = 0;
    for (const Layer* layer : layers) {
      const int own = layer->type() == "Autoregressive" ? 1 : 0;
      most = std::max(most, own + nested(layer->children()));
    }
    return most;
  }

  static void check(const std::string& where, const Chain& chain) {
    if (!chain.supports_step())
      fail(Code::kConfig, "{}: expected layers that can run step-wise", where);
    if (chain.accumulated_input_latency(0) != 0 || chain.accumulated_output_latency(0) != 0)
      fail(Code::kConfig, "{}: expected layers without latency", where);
    for (const Layer* layer : chain.layers()) {
      if (!reads_stream(*layer)) continue;
      fail(Code::kConfig, "{}: expected layers that read no streamed constant, \"{}\" does", where,
           layer->name());
    }
  }

  // What the layers take, less what is fed back. Where that depends on constants, nothing is known.
  std::optional<ChannelSpec> without_feedback() const {
    std::optional<ChannelSpec> input = body_.implied_input();
    if (!input || input->shape.empty()) return std::nullopt;
    try {
      const ChannelSpec fed = feedback_.output_spec(body_.output_spec(*input, {}), {});
      if (fed.shape.empty() || fed.shape[0] >= input->shape[0]) return std::nullopt;
      input->shape[0] -= fed.shape[0];
      return input;
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  int64_t made_of_block() const { return output_ratio().floor_times(block_size()); }

  Specs specs(const ChannelSpec& input, const Constants& constants) const {
    Specs specs;
    // What is fed back must be known before the layers' input is: their output cannot depend on it.
    specs.output = body_.output_spec(body_.implied_input().value_or(input), constants);
    specs.feedback = feedback_.output_spec(specs.output, constants);
    const Shape &x = input.shape, &y = specs.feedback.shape;
    const bool fits = specs.feedback.dtype == input.dtype && x.rank() > 0 && x.rank() == y.rank() &&
                      x.slice(1, x.rank()) == y.slice(1, y.rank());
    if (!fits) {
      fail(Code::kShape,
           "it feeds {} back beside {}: expected the same dtype and, but for "
           "the first channel axis, the same shape",
           to_string(specs.feedback), to_string(input));
    }
    specs.joined = input;
    specs.joined.shape[0] = checked_sum(x[0], y[0]);
    if (specs.joined == body_.implied_input()) return specs;
    const ChannelSpec made = body_.output_spec(specs.joined, constants);
    if (made != specs.output) {
      fail(Code::kShape,
           "its layers make {} of {}, and with that fed back {}: expected "
           "the same",
           to_string(specs.output), to_string(input), to_string(made));
    }
    return specs;
  }

  // State and emits of the layers, which run a block at a time.
  Declaration declare_block(const Specs& specs, int64_t batch, const Constants& constants) const {
    Declaration declaration(constants);
    body_.declare(declaration, {specs.joined, batch, block_size(), Mode::kStep}, body_keys_);
    declaration.without_emits([&] {
      declaration.within("feedback_layer", "", [&] {
        feedback_.declare(declaration, {specs.output, batch, made_of_block(), Mode::kStep},
                          feedback_keys_);
      });
    });
    return declaration;
  }

  static size_t bytes_of_item(const EmitSpec& emit) {
    const ChannelSpec& frame = emit.sequence.channels;
    return checked_bytes(checked_product(emit.sequence.time, frame.shape.size()),
                         size_of(frame.dtype));
  }

  static Emit next_emit(Run& run, int64_t batch, size_t bytes, int64_t steps) {
    Emit emit{run.next_emit(), {}, bytes, static_cast<size_t>(steps)};
    // In scratch whether or not it is wanted, so that all steps need as much.
    auto* values = run.scratch<std::byte>(batch, static_cast<int64_t>(bytes));
    auto* mask = run.scratch<uint8_t>(batch, steps);
    if (!emit.all.values) return emit;
    emit.block.values = values;
    emit.block.mask = mask;
    return emit;
  }

  static std::span<const Emit> take_emits(Run& run, int64_t batch,
                                          std::span<const EmitSpec> specs) {
    auto* emits = run.scratch<Emit>(static_cast<int64_t>(specs.size()));
    for (size_t i = 0; i < specs.size(); ++i) {
      std::construct_at(emits + i,
                        next_emit(run, batch, bytes_of_item(specs[i]), specs[i].sequence.time));
    }
    return {emits, specs.size()};
  }

  // Steps through x, layer-wise too: a block needs what was made of the one before.
  Sequence unroll(Run& run, const Sequence& x, const Specs& specs, const Memory& memory) const {
    const int64_t block = block_size(), made = made_of_block(), blocks = ceil_div(x.time, block);
    const Sequence y = run.output(specs.output, x.batch, checked_product(blocks, made));
    const Sequence joined = run.scratch_sequence(specs.joined, x.batch, block);
    const auto emit_count = static_cast<int64_t>(memory.emits.size());
    const std::span<Sequence> emits(run.scratch<Sequence>(emit_count), memory.emits.size());
    std::ranges::transform(memory.emits, emits.begin(), [](const Emit& e) { return e.block; });
    const Side side = other(run.side());
    Stack& stack = run.workspace().on(side);
    const Stack::Mark mark = stack.mark();
    for (int64_t i = 0; i < blocks; ++i) {
      join(x, i * block, memory.last, joined);
      Run inner(Mode::kStep, run.workspace(), run.parallel(), run.constants());
      inner.bind_state(memory.state, memory.plans, run.checks_state());
      inner.bind_emits(emits);
      const Sequence out = inner.on_side(side, [&] { return body_.run(inner, joined); });
      put(out, y, i * made);
      for (const Emit& emit : memory.emits) put(emit, x.batch, i, blocks);
      keep(inner.on_side(side, [&] { return feedback_.run(inner, out); }), memory.last);
      stack.release(mark);
    }
    return y;
  }

  // Steps of x from `begin` on, those past its end invalid, each with the step fed back: the last
  // block's in turn.
  static void join(const Sequence& x, int64_t begin, const Sequence& last, const Sequence& joined) {
    const size_t own = x.frame_bytes(), fed = last.frame_bytes();
    for (int64_t b = 0; b < x.batch; ++b) {
      for (int64_t t = 0; t < joined.time; ++t) {
        const bool exists = begin + t < x.time;
        std::byte* frame = joined.frame(b, t);
        if (exists) {
          std::copy_n(x.frame(b, begin + t), own, frame);
        } else {
          std::fill_n(frame, own, std::byte{0});
        }
        std::copy_n(last.frame(b, t % last.time), fed, frame + own);
        *joined.mask_at(b, t) = exists ? *x.mask_at(b, begin + t) : 0;
      }
    }
  }

  static void put(const Sequence& from, const Sequence& to, int64_t begin) {
    for (int64_t b = 0; b < from.batch; ++b) {
      std::copy_n(from.frame(b, 0), static_cast<size_t>(from.time) * from.frame_bytes(),
                  to.frame(b, begin));
      std::copy_n(from.mask_at(b, 0), from.time, to.mask_at(b, begin));
    }
  }

  // Block i of `blocks`.
  static void put(const Emit& emit, int64_t batch, int64_t i, int64_t blocks) {
    if (!emit.all.values) return;
    for (int64_t b = 0; b < batch; ++b) {
      const auto from = static_cast<size_t>(b), to = static_cast<size_t>(b * blocks + i);
      std::copy_n(emit.block.values + from * emit.bytes, emit.bytes,
                  emit.all.values + to * emit.bytes);
      if (!emit.all.mask) continue;
      std::copy_n(emit.block.mask + from * emit.steps, emit.steps, emit.all.mask + to * emit.steps);
    }
  }

  // Zeros where it is invalid: what is fed back must not be NaN.
  static void keep(const Sequence& from, const Sequence& last) {
    for (int64_t i = 0; i < from.steps(); ++i) {
      std::byte* frame = last.frame(0, i);
      if (from.mask[i]) {
        std::copy_n(from.frame(0, i), from.frame_bytes(), frame);
      } else {
        std::fill_n(frame, from.frame_bytes(), std::byte{0});
      }
    }
  }

  Chain body_;
  Chain feedback_;
  std::vector<std::string> body_keys_;
  std::vector<std::string> feedback_keys_;
  std::optional<ChannelSpec> implied_input_;
};

SL_REGISTER_LAYER(Autoregressive);

}  // namespace
}  // namespace sl
