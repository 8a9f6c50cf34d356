// Autoregressive: y[i] = layers(concat(x[i], feedback_layer(y[i - 1]))) for each block i, joined on
// the first channel axis; y[-1] is zero (reference: tensorflow.recurrent.Autoregressive).
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "combinators/chain.h"
#include "ops/elementwise.h"
#include "ops/initial_state.h"

namespace sl {
namespace {

// A field whose value is one layer, a list of layers, or null.
struct ChainFields {
  ChainFields(Config& config, const char* field, const char* accepts, const char* fallback) {
    config.note(field, accepts, fallback);
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
           "{}: expected layers that make one output step from each n input steps, they make {} "
           "from {}",
           where, made, block);
    }
    if (feedback_.output_ratio() != Ratio(1) || made % feedback_.block_size() != 0) {
      fail(Code::kConfig,
           "{}: expected a feedback layer of output ratio 1 that takes blocks of {}, got an output "
           "ratio of {}/{} and a block size of {}",
           where, made, feedback_.output_ratio().numerator(),
           feedback_.output_ratio().denominator(), feedback_.block_size());
    }
    // Each Autoregressive takes twice the stack of other layers, and real models nest two at most.
    constexpr int kMaxNested = 4;
    if (nested(body_.layers()) >= kMaxNested || nested(feedback_.layers()) >= kMaxNested) {
      fail(Code::kConfig, "{}: at most {} Autoregressive layers may be nested", where, kMaxNested);
    }
    // Without an implied input, specs() asks the layers for their output twice, and each nested
    // Autoregressive would double that again.
    if (!body_.implied_input() && nested(body_.layers()) > 0) {
      fail(Code::kConfig,
           "{}: its layers hold another Autoregressive: expected a first layer that implies "
           "its input",
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
  // An invalid step feeds back zeros, as the start of a stream does, so invalid early steps change
  // nothing: only early steps that are valid, or that shift where blocks begin, make a difference.
  EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const override {
    differences.add(step_difference(before), type());
    const EarlySteps after = body_.follow(before, differences);
    differences.within("feedback_layer", [&] { feedback_.follow(after, differences); });
    return after;
  }
  std::optional<ChannelSpec> implied_input() const override { return implied_input_; }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    return specs(input, constants).output;
  }
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
    const auto feedback = run.state<std::byte>("feedback");
    last.values = feedback;
    return unroll(run, x, specs, {state, plans, last, take_emits(run, x.batch, block.emits)});
  }

  struct Specs {
    ChannelSpec joined;  // the input of the layers: x and the feedback
    ChannelSpec output;
    ChannelSpec feedback;
  };

  // How many state tensors and plans the layers declare for one block, and what they emit in it.
  struct BlockPlan {
    size_t states;
    size_t plans;
    std::vector<EmitSpec> emits;
  };

  // An emit of the layers: over all blocks, without values if it is not wanted, and of one block.
  // `bytes` and `steps` are the size of one batch item's part in a block.
  struct Emit {
    Sequence all;
    Sequence block;
    size_t bytes;
    size_t steps;
  };

  // The data that blocks pass on: the state of the layers, the feedback of the last block (without
  // a mask) and the emits.
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

  // A single layer has the weights "feedback_layer" itself, the layers of a list have theirs below
  // that name, as a Residual's shortcut has them.
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

  // The maximum depth to which layers of this type are nested in `layers`.
  static int nested(const std::vector<const Layer*>& layers) {
    int maximum = 0;
    for (const Layer* layer : layers) {
      const int own = layer->type() == "Autoregressive" ? 1 : 0;
      maximum = std::max(maximum, own + nested(layer->children()));
    }
    return maximum;
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

  // The implied input of the layers without the channels of the feedback. It is unknown where the
  // feedback depends on constants.
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
    // The feedback is part of the layers' input, so its spec must be known first. It is computed
    // from x alone, and the check below makes sure that the joined input gives the same output.
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
           "its layers make {} of {}, but {} once that is fed back: expected "
           "the same output",
           to_string(specs.output), to_string(input), to_string(made));
    }
    return specs;
  }

  // Declares the state and emits of the layers for one block, since they run block by block.
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
    // Scratch is taken even for an emit that is not wanted, so that all steps need the same amount.
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

  // Runs x block by block, in layer-wise runs too, because each block needs the output of the
  // previous one.
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
      Run inner(Mode::kStep, run.workspace(), run.parallel(), run);
      inner.bind_state(memory.state, memory.plans, run.checks_state());
      inner.bind_slots(run.slots());
      inner.bind_emits(emits);
      const Sequence out = inner.on_side(side, [&] { return body_.run(inner, joined); });
      put(out, y, i * made);
      for (const Emit& emit : memory.emits) put(emit, x.batch, i, blocks);
      const Sequence fed = inner.on_side(side, [&] { return feedback_.run(inner, out); });
      ops::copy_masked(fed, memory.last);  // NaN in an invalid step must not be fed back
      stack.release(mark);
    }
    return y;
  }

  // Makes the input of one block: the steps of x from `begin` on, each followed on the first
  // channel axis by a feedback step of the last block. Steps past the end of x are invalid. If the
  // feedback has fewer steps than the block, they repeat.
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

  // Copies the emit of block i into the emit over all `blocks`.
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

  Chain body_;
  Chain feedback_;
  std::vector<std::string> body_keys_;
  std::vector<std::string> feedback_keys_;
  std::optional<ChannelSpec> implied_input_;
};

SL_REGISTER_LAYER(Autoregressive);

}  // namespace
}  // namespace sl
