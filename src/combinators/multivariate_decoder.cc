// MultivariateDecoder: logits of frames of tokens, one token from each codebook. A temporal body
// makes one vector of the frames before, and a depth body, which begins anew with each frame, makes
// from that vector the logits of the first token, and from each token of the frame those of the
// next one. Both bodies share the embedder (reference: magenta_rt.jax.depthformer).
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "layers/builder.h"
#include "layers/token_parts.h"
#include "ops/elementwise.h"
#include "ops/initial_state.h"
#include "ops/reduce.h"

namespace sl {
namespace {

class MultivariateDecoder final : public Layer, public TokenParts {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : where(config.path()),
          embedder(config.nested_required("embedder")),
          temporal_body(config.nested_required("temporal_body")),
          depth_body(config.nested_required("depth_body")),
          sos_id(config.integer("sos_id", 0)),
          num_reserved_tokens(config.integer("num_reserved_tokens", 0)),
          codebook_size(config.integer("codebook_size", 1)),
          num_codebooks(config.integer("num_codebooks", 1)),
          codebook_logits(config.boolean("codebook_logits", false)),
          temperature_last(config.boolean("temperature_last", false)) {
      config.note("soft_cap_logits", "number or null", "null");
      const Json* cap = config.raw("soft_cap_logits");
      if (cap && !cap->is_null()) soft_cap = static_cast<float>(config.number("soft_cap_logits"));
      if (soft_cap && !(*soft_cap > 0)) config.error("soft_cap_logits", "expected more than 0");
      const int64_t tokens = checked_product(codebook_size, num_codebooks) + num_reserved_tokens;
      if (tokens > INT32_MAX) config.error("codebook_size", "expected fewer tokens");
      if (sos_id >= tokens) config.error("sos_id", fmt::format("expected less than {}", tokens));
    }
    std::string where;
    Config embedder, temporal_body, depth_body;
    int64_t sos_id, num_reserved_tokens, codebook_size, num_codebooks;
    bool codebook_logits, temperature_last;
    std::optional<float> soft_cap;
  };

  MultivariateDecoder(const Fields& fields, const Init& init)
      : fields_(fields),
        embedder_(init.builder.build(fields.embedder, init.weights, "embedder")),
        temporal_(init.builder.build(fields.temporal_body, init.weights, "temporal_body")),
        depth_(init.builder.build(fields.depth_body, init.weights, "depth_body")) {
    check("embedder", *embedder_);
    check("temporal_body", *temporal_);
    check("depth_body", *depth_);
  }

  int64_t part_count() const override { return fields_.num_codebooks; }
  int32_t start_token() const override { return static_cast<int32_t>(fields_.sos_id); }
  int64_t token_count() const override {
    return fields_.num_reserved_tokens + fields_.codebook_size * fields_.num_codebooks;
  }
  int32_t first_token(int64_t part) const override {
    return fields_.codebook_logits ? static_cast<int32_t>(first_of_codebook(part)) : 0;
  }
  int64_t first_logit(int64_t part) const override {
    return fields_.codebook_logits ? 0 : first_of_codebook(part);
  }
  int64_t logit_count() const override { return fields_.codebook_size; }
  bool temperature_last() const override { return fields_.temperature_last; }
  Sequence step_with(Run& run, const Sequence& x, TokenSource& source) const override {
    return step_of(run, x, &source);
  }

  std::vector<const Layer*> children() const override {
    return {embedder_.get(), temporal_.get(), depth_.get()};
  }
  std::vector<ChannelSpec> child_inputs(const ChannelSpec& input,
                                        const Constants& constants) const override {
    const Specs specs = this->specs(input, constants);
    return {input, specs.frame, specs.depth};
  }
  bool supports_step() const override {
    return temporal_->supports_step() && depth_->supports_finite_step();
  }
  bool supports_finite_step() const override {
    return temporal_->supports_finite_step() && depth_->supports_finite_step();
  }
  std::optional<ChannelSpec> implied_input() const override { return frame_of_tokens(); }
  // The logits depend on the frames before and, but for the first token, on the frame itself.
  ReceptiveFields receptive_field_per_step() const override {
    const ReceptiveField seen = temporal_->receptive_field();
    ReceptiveField field;
    if (seen) field = StepRange{before(seen->start), before(seen->end)};
    if (fields_.num_codebooks == 1) return {field};
    return {merge(field, StepRange{0, 0})};
  }

 private:
  // The specs of what runs from layer to layer.
  struct Specs {
    ChannelSpec embedded;  // the tokens of a frame
    ChannelSpec frame;     // their mean
    ChannelSpec depth;
    ChannelSpec logits;  // of one token, as the depth body makes them
    ChannelSpec output;
  };

  // Declarations of the depth body for one step. Its state lives for one frame.
  struct DepthPlan {
    std::vector<StateSpec> states;
    StateLayout layout;
    std::vector<StepPlan> plans;
  };

  // One step earlier.
  static int64_t before(int64_t step) {
    return step == kInfinite || step == -kInfinite ? step : step - 1;
  }

  void check(const char* field, const Layer& layer) const {
    if (layer.block_size() == 1 && layer.output_ratio() == Ratio(1) && layer.input_latency() == 0 &&
        layer.output_latency() == 0)
      return;
    fail(Code::kConfig,
         "{}.{} (MultivariateDecoder): expected block size 1, output ratio 1 and no "
         "latency",
         fields_.where, field);
  }

  int64_t first_of_codebook(int64_t part) const {
    return fields_.num_reserved_tokens + part * fields_.codebook_size;
  }
  int64_t width() const { return fields_.codebook_logits ? fields_.codebook_size : token_count(); }
  ChannelSpec frame_of_tokens() const { return {DType::kInt32, {fields_.num_codebooks}}; }

  Specs specs(const ChannelSpec& input, const Constants& constants) const {
    if (input != frame_of_tokens()) {
      fail(Code::kShape, "expected {}, got {}", to_string(frame_of_tokens()), to_string(input));
    }
    Specs specs;
    specs.embedded = embedder_->output_spec(input, constants);
    const ChannelSpec one = embedder_->output_spec({DType::kInt32, {}}, constants);
    if (specs.embedded.shape.rank() != 2 || one.shape.rank() != 1) {
      fail(Code::kShape,
           "expected an embedder that makes a vector of each token, it makes {} of {}",
           to_string(specs.embedded), to_string(input));
    }
    specs.frame = {ops::reduced_dtype(ops::Reduction::kMean, one.dtype), one.shape};
    specs.depth = temporal_->output_spec(specs.frame, constants);
    if (specs.depth != one) {
      fail(Code::kShape,
           "the temporal body makes {}: expected {}, as the embedder makes of a token",
           to_string(specs.depth), to_string(one));
    }
    specs.logits = depth_->output_spec(specs.depth, constants);
    if (!is_float(specs.logits.dtype) || specs.logits.shape != Shape{width()}) {
      fail(Code::kShape, "the depth body makes {}: expected {} logits", to_string(specs.logits),
           width());
    }
    specs.output = {DType::kFloat32, {fields_.num_codebooks, width()}};
    return specs;
  }

  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    return specs(input, constants).output;
  }

  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    const Specs specs = this->specs(input.channels, declaration.constants());
    declaration.without_emits([&] {
      if (input.mode == Mode::kStep) {
        declaration.plan(std::make_shared<const DepthPlan>(plan_depth(declaration, specs, input)));
        declaration.state("last", DType::kInt32, {input.batch, fields_.num_codebooks},
                          static_cast<double>(fields_.sos_id));
        declaration.state("last_is_valid", DType::kInt32, {input.batch}, 1);
      }
      SequenceSpec frames = input;
      frames.channels = specs.frame;
      declaration.within(temporal_->name(), "", [&] { temporal_->declare(declaration, frames); });
    });
  }

  DepthPlan plan_depth(const Declaration& declaration, const Specs& specs,
                       const SequenceSpec& input) const {
    Declaration none(declaration.constants());
    embedder_->declare(none, {frame_of_tokens(), input.batch, input.time, Mode::kStep});
    if (!none.states().empty() || !none.plans().empty())
      fail(Code::kConfig, "{}.embedder: expected layers without state", fields_.where);
    Declaration depth(declaration.constants());
    depth_->declare(depth, {specs.depth, input.batch, 1, Mode::kStep, fields_.num_codebooks});
    return {depth.states(), layout_of(depth.states()), depth.plans()};
  }

  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Specs specs = this->specs(x.spec(), run.constants());
    const Sequence y = run.output_like(x, specs.output);
    if (x.steps() == 0) return y;
    const int64_t parts = fields_.num_codebooks;
    auto* last = run.scratch<int32_t>(x.batch, parts);
    auto* valid = run.scratch<int32_t>(x.batch);
    std::fill_n(last, x.batch * parts, start_token());
    std::fill_n(valid, x.batch, 1);
    const Side side = other(run.side());
    run.without_emits([&] {
      const Sequence context = run_temporal(run, x, last, valid);
      const Sequence given = call(run, *embedder_, x, side);
      Sequence frames = run.scratch_sequence(specs.depth, x.steps(), parts);
      join(x, context, given, frames);
      const Sequence logits = call(run, *depth_, frames, side);
      finish(logits.values, specs.logits.dtype, y.floats(), y.steps() * parts);
      return y;
    });
    return y;
  }

  Sequence do_step(Run& run, const Sequence& x) const override { return step_of(run, x, nullptr); }

  // With a source, the step of one frame, whose tokens it chooses.
  Sequence step_of(Run& run, const Sequence& x, TokenSource* source) const {
    const auto& plan = run.plan<DepthPlan>();
    const Specs specs = this->specs(x.spec(), run.constants());
    const auto last = run.state<int32_t>("last");
    const auto valid = run.state<int32_t>("last_is_valid");
    const Sequence y = run.output_like(x, specs.output);
    return run.without_emits([&] {
      const Sequence context = run_temporal(run, x, last, valid);
      if (source && !source->reads_logits()) {
        std::fill_n(y.values, y.bytes(), std::byte{0});
        return y;
      }
      for (int64_t t = 0; t < x.time; ++t)
        run_depth(run, plan, specs, {x, context, t, source}, last, y);
      return y;
    });
  }

  // The vector of each frame, made of the frames before it. `last` [batch, codebooks] and `valid`
  // [batch] are the frame before x, and then the last one of x.
  Sequence run_temporal(Run& run, const Sequence& x, int32_t* last, int32_t* valid) const {
    const Side side = other(run.side());
    const int64_t parts = fields_.num_codebooks;
    const Sequence tokens = run.scratch_sequence(frame_of_tokens(), x.batch, x.time);
    for (int64_t b = 0; b < x.batch; ++b) {
      int32_t* before = last + b * parts;
      for (int64_t t = 0; t < x.time; ++t) {
        std::copy_n(before, parts, reinterpret_cast<int32_t*>(tokens.frame(b, t)));
        *tokens.mask_at(b, t) = valid[b] != 0 ? 1 : 0;
        valid[b] = *x.mask_at(b, t);
        if (valid[b] != 0) {
          std::copy_n(reinterpret_cast<const int32_t*>(x.frame(b, t)), parts, before);
        } else {
          std::fill_n(before, parts, start_token());
        }
      }
    }
    const Sequence embedded = call(run, *embedder_, tokens, side);
    const Sequence frames = run.on_side(side, [&] {
      return ops::reduce(run, ops::Reduction::kMean, embedded, 1u, {embedded.channels[1]});
    });
    return call(run, *temporal_, frames, side);
  }

  // Makes the depth body's inputs [batch * time, codebooks]: the vector of a frame and its tokens
  // but the last one.
  void join(const Sequence& x, const Sequence& context, const Sequence& given,
            const Sequence& frames) const {
    const int64_t parts = fields_.num_codebooks;
    const size_t bytes = context.frame_bytes();
    for (int64_t i = 0; i < x.steps(); ++i) {
      std::byte* out = frames.frame(i, 0);
      std::memcpy(out, context.values + static_cast<size_t>(i) * bytes, bytes);
      std::memcpy(out + bytes, given.values + static_cast<size_t>(i) * given.frame_bytes(),
                  given.frame_bytes() - bytes);
      std::fill_n(frames.mask_at(i, 0), parts, x.mask[i]);
    }
  }

  // One step of several.
  struct At {
    const Sequence& x;
    const Sequence& context;
    int64_t t;
    TokenSource* source;
  };

  // Writes the logits of one frame. With a source of tokens, it chooses them, and they become the
  // last frame.
  void run_depth(Run& run, const DepthPlan& plan, const Specs& specs, const At& at, int32_t* last,
                 const Sequence& y) const {
    const int64_t batch = at.x.batch, parts = fields_.num_codebooks;
    run.with_scratch([&] {
      const StateTensors state{plan.states, plan.layout.offsets,
                               run.scratch<std::byte>(static_cast<int64_t>(plan.layout.bytes))};
      for (size_t i = 0; i < state.size(); ++i) ops::initialise(state[i], 0, batch);
      const Sequence tokens = run.scratch_sequence({DType::kInt32, {}}, batch, 1);
      const Sequence logits = run.scratch_sequence({DType::kFloat32, {width()}}, batch, 1);
      const Sequence first = run.scratch_sequence(specs.depth, batch, 1);
      for (int64_t b = 0; b < batch; ++b) {
        std::memcpy(first.frame(b, 0), at.context.frame(b, at.t), first.frame_bytes());
        *first.mask_at(b, 0) = *tokens.mask_at(b, 0) = *logits.mask_at(b, 0) =
            *at.x.mask_at(b, at.t);
      }
      for (int64_t part = 0; part < parts; ++part) {
        Run inner(Mode::kStep, run.workspace(), run.parallel(), run);
        inner.bind_state(state, plan.plans, run.checks_state());
        inner.bind_slots({nullptr, 0, batch});
        step_depth(run, inner, part == 0 ? &first : nullptr, tokens, logits);
        for (int64_t b = 0; b < batch; ++b) {
          std::memcpy(y.frame(b, at.t) + static_cast<size_t>(part) * logits.frame_bytes(),
                      logits.frame(b, 0), logits.frame_bytes());
        }
        choose(part, at, logits, tokens, last);
      }
    });
  }

  // Runs the depth body on its first input, or on the tokens.
  void step_depth(Run& run, Run& inner, const Sequence* first, const Sequence& tokens,
                  const Sequence& logits) const {
    const Side side = run.side();
    Stack& stack = run.workspace().on(other(side));
    const Stack::Mark mark = stack.mark();
    const Sequence x = first ? *first : call(inner, *embedder_, tokens, other(side));
    const Sequence made = call(inner, *depth_, x, other(side));
    finish(made.values, made.dtype, logits.floats(), made.batch);
    stack.release(mark);
  }

  void choose(int64_t part, const At& at, const Sequence& logits, const Sequence& tokens,
              int32_t* last) const {
    const int64_t parts = fields_.num_codebooks;
    if (at.source) {
      at.source->choose(part, logits, tokens.as<int32_t>());
      for (int64_t b = 0; b < tokens.batch; ++b) {
        if (*at.x.mask_at(b, at.t) != 0) last[b * parts + part] = tokens.as<int32_t>()[b];
      }
      return;
    }
    for (int64_t b = 0; b < tokens.batch; ++b)
      tokens.as<int32_t>()[b] = reinterpret_cast<const int32_t*>(at.x.frame(b, at.t))[part];
  }

  // Caps rows of logits and converts them to float32.
  void finish(const std::byte* logits, DType dtype, float* out, int64_t rows) const {
    const int64_t count = checked_product(rows, width());
    ops::convert(logits, dtype, out, DType::kFloat32, count);
    if (fields_.soft_cap) ops::soft_cap(dtype, *fields_.soft_cap, out, count);
  }

  Fields fields_;
  std::unique_ptr<Layer> embedder_, temporal_, depth_;
};

SL_REGISTER_LAYER(MultivariateDecoder);

}  // namespace
}  // namespace sl
