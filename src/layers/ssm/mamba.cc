// Selective state spaces (Gu & Dao 2023, Mamba): a gated block around a causal depthwise
// convolution and a diagonal recurrence, whose step dt, input B and output C are functions of the
// input: h = exp(dt A) h + dt B u, y = (C . h + D u) silu(z).
#include <nlohmann/json.hpp>

#include "core/ring.h"
#include "kernels/depthwise.h"
#include "layers/builder.h"
#include "ops/associative_scan.h"
#include "ops/elementwise.h"
#include "ops/linear.h"

namespace sl {
namespace {

using kernels::Binary;
using kernels::Unary;

class Mamba final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : d_state(config.integer("d_state", 1, 16)),
          d_conv(config.integer("d_conv", 1, 4)),
          expand(config.integer("expand", 1, 2)),
          dt_rank(rank(config)),
          bias(config.boolean("bias", false)),
          conv_bias(config.boolean("conv_bias", true)) {
      for (const int64_t value : {d_state, d_conv, expand}) {
        if (value > kMax) config.error("", "expected d_state, d_conv and expand of at most 65536");
      }
    }

    int64_t d_state;
    int64_t d_conv;
    int64_t expand;
    std::optional<int64_t> dt_rank;  // empty: the number of channels / 16, rounded up
    bool bias;
    bool conv_bias;

   private:
    static constexpr int64_t kMax = 65536;

    static std::optional<int64_t> rank(Config& config) {
      config.note("dt_rank", "\"auto\" or integer, at least 1", "\"auto\"");
      const Json* value = config.raw("dt_rank");
      if (value == nullptr || *value == "auto") return std::nullopt;
      if (!value->is_number_integer() || *value < 1 || *value > kMax) {
        config.error("dt_rank", "expected \"auto\" or an integer from 1 to 65536");
      }
      return value->get<int64_t>();
    }
  };

  Mamba(Fields fields, const Init& init)
      : fields_(fields),
        model_(model_size(init.weights)),
        inner_(fields.expand * model_),
        rank_(fields.dt_rank.value_or(ceil_div(model_, int64_t{16}))),
        in_(linear(init.weights, "in_proj", model_, 2 * inner_)),
        x_(linear(init.weights, "x_proj", inner_, rank_ + 2 * fields.d_state)),
        dt_(linear(init.weights, "dt_proj", rank_, inner_)),
        out_(linear(init.weights, "out_proj", inner_, model_)),
        dt_bias_(init.weights.child("dt_proj").floats("bias", {inner_})),
        conv_(transposed(init.weights.child("conv1d").floats("weight", {inner_, 1, fields.d_conv}),
                         inner_, fields.d_conv)),
        a_(transposed(init.weights.floats("A_log", {inner_, fields.d_state}), inner_,
                      fields.d_state)),
        d_(init.weights.floats("D", {inner_})) {
    if (fields.conv_bias) conv_bias_ = init.weights.child("conv1d").floats("bias", {inner_});
    if (fields.bias) {
      in_bias_ = init.weights.child("in_proj").floats("bias", {2 * inner_});
      out_bias_ = init.weights.child("out_proj").floats("bias", {model_});
    }
    for (float& value : a_) value = -std::exp(value);
  }

  ReceptiveFields receptive_field_per_step() const override { return {StepRange{-kInfinite, 0}}; }

  std::optional<ChannelSpec> implied_input() const override {
    return ChannelSpec{DType::kFloat32, {model_}};
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input != ChannelSpec{DType::kFloat32, {model_}}) {
      fail(Code::kShape, "expected float32 channels [{}], got {} {}", model_, name_of(input.dtype),
           to_string(input.shape));
    }
    return input;
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    declaration.within("conv", "conv",
                       [&] { Ring::declare(declaration, ring(), input.batch, input.time); });
    declaration.state("h", DType::kFloat32, {input.batch, fields_.d_state, inner_});
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const int64_t frames = before() + x.time,
                  size = checked_product(x.batch, fields_.d_state, inner_);
    auto* padded = run.scratch<float>(x.batch, frames, inner_);
    auto* h = run.scratch<float>(size);
    auto* items = run.scratch<const float*>(x.batch);
    std::fill(h, h + size, 0.0f);
    return run_block(run, x, h, [&](const float* in) {
      for (int64_t b = 0; b < x.batch; ++b) {
        float* to = padded + b * frames * inner_;
        std::fill(to, to + before() * inner_, 0.0f);
        copy_inner(in + b * x.time * 2 * inner_, x.time, to + before() * inner_);
        items[b] = to;
      }
      return items;
    });
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    Ring history(run, ring());
    const auto h = run.state<float>("h");
    auto* items = run.scratch<const float*>(x.batch);
    return run_block(run, x, h, [&](const float* in) {
      for (int64_t b = 0; b < x.batch; ++b) {
        copy_inner(in + b * x.time * 2 * inner_, x.time,
                   reinterpret_cast<float*>(history.incoming(b)));
        std::fill_n(history.incoming_mask(b), x.time, uint8_t{1});
      }
      history.push(x.batch, x.time);
      for (int64_t b = 0; b < x.batch; ++b) {
        items[b] = reinterpret_cast<const float*>(history.newest(b, before() + x.time));
      }
      return items;
    });
  }

  static int64_t model_size(const WeightScope& weights) {
    const Shape out = weights.child("out_proj").shape_of("weight");
    // A weight of another rank fails when it is read.
    return out.rank() == 2 ? out[0] : 1;
  }

  static ops::Linear linear(const WeightScope& weights, const char* name, int64_t inputs,
                            int64_t outputs) {
    return weights.child(name).matrix("weight", {outputs, inputs}, {.outputs_first = true});
  }

  static std::vector<float> transposed(const std::vector<float>& x, int64_t rows, int64_t columns) {
    std::vector<float> out(x.size());
    for (int64_t i = 0; i < rows * columns; ++i) {
      out[static_cast<size_t>(i % columns * rows + i / columns)] = x[static_cast<size_t>(i)];
    }
    return out;
  }

  static const float* data(const std::vector<float>& bias) {
    return bias.empty() ? nullptr : bias.data();
  }

  int64_t before() const { return fields_.d_conv - 1; }
  RingSpec ring() const { return {{DType::kFloat32, {inner_}}, before(), 0, true}; }

  // Copies the first half of each row.
  void copy_inner(const float* in, int64_t steps, float* out) const {
    for (int64_t t = 0; t < steps; ++t) std::copy_n(in + t * 2 * inner_, inner_, out + t * inner_);
  }

  // Computes u = silu(conv(u)) for all steps: [batch, time, inner]. `frames` points to the frames
  // of each item, which begin with its history.
  const float* convolve(Run& run, const Sequence& x, const float* const* frames) const {
    auto* u = run.scratch<float>(x.steps(), inner_);
    ops::for_steps(run, x.steps(), inner_, [&](int64_t begin, int64_t end) {
      for (int64_t step = begin; step < end; ++step) {
        const float* from = frames[step / x.time] + step % x.time * inner_;
        kernels::depthwise(from, inner_, conv_.data(), data(conv_bias_), fields_.d_conv, inner_, 1,
                           u + step * inner_);
      }
      kernels::unary(Unary::kSwish, u + begin * inner_, u + begin * inner_, (end - begin) * inner_,
                     0);
    });
    return u;
  }

  // The recurrence over all steps [batch, time], which computes y.
  class Channels final : public ops::LinearRecurrence {
   public:
    struct Rows {
      const float* u;           // [inner]
      const float* dt;          // [inner]
      const float* parameters;  // dt's own inputs, B and C
      float* gates;             // [2 inner], with the gates in the second half
      float* y;                 // [inner]
    };

    Channels(const Mamba& layer, int64_t time, const Rows& rows)
        : layer_(layer), time_(time), rows_(rows) {}

    // y = (C . h + D u) silu(z).
    void scan(const ops::ScanPart& part, float* state, float* scratch) const override {
      each_step(part, [&](int64_t at, const float* b, int64_t step) {
        float* y = rows_.y + at;
        float* gate = rows_.gates + (2 * step + 1) * layer_.inner_ + part.first;
        kernels::binary(Binary::kMultiply, layer_.d_.data() + part.first, rows_.u + at, y,
                        part.lanes());
        advance(part, at, b, scratch, state, y);
        kernels::unary(Unary::kSwish, gate, gate, part.lanes(), 0);
        kernels::binary(Binary::kMultiply, y, gate, y, part.lanes());
      });
    }
    // Reduces a part of time to its state and decay. The product of the factors is exp((sum of dt)
    // A).
    void reduce(const ops::ScanPart& part, float* state, float* decay,
                float* scratch) const override {
      float* sum = scratch + 2 * part.lanes();
      std::fill_n(sum, part.lanes(), 0.0f);
      each_step(part, [&](int64_t at, const float* b, int64_t) {
        advance(part, at, b, scratch, state, nullptr);
        kernels::binary(Binary::kAdd, rows_.dt + at, sum, sum, part.lanes());
      });
      for (int64_t n = 0; n < layer_.fields_.d_state; ++n) {
        factors(part, n, sum, decay + n * layer_.inner_ + part.first);
      }
    }

   private:
    // Calls fn(offset of the channels of the part, B and C, step) for each step.
    template <typename Fn>
    void each_step(const ops::ScanPart& part, Fn&& fn) const {
      const int64_t row = layer_.rank_ + 2 * layer_.fields_.d_state;
      for (int64_t t = part.begin; t < part.end; ++t) {
        const int64_t step = part.item * time_ + t;
        fn(step * layer_.inner_ + part.first, rows_.parameters + step * row + layer_.rank_, step);
      }
    }

    // Computes exp(dt A) for state n.
    void factors(const ops::ScanPart& part, int64_t n, const float* dt, float* out) const {
      kernels::binary(Binary::kMultiply, dt, layer_.a_.data() + n * layer_.inner_ + part.first, out,
                      part.lanes());
      kernels::unary(Unary::kExp, out, out, part.lanes(), 0);
    }

    // h = exp(dt A) h + dt B u. Adds C . h to y unless it is null. `scratch` is [2, lanes].
    void advance(const ops::ScanPart& part, int64_t at, const float* b, float* scratch,
                 float* state, float* y) const {
      const int64_t count = part.lanes(), states = layer_.fields_.d_state;
      float* drive = scratch + count;
      float* h = state + part.first;
      kernels::binary(Binary::kMultiply, rows_.dt + at, rows_.u + at, drive, count);
      for (int64_t n = 0; n < states; ++n, h += layer_.inner_) {
        factors(part, n, rows_.dt + at, scratch);
        kernels::binary(Binary::kMultiply, h, scratch, h, count);
        kernels::axpy(b[n], drive, h, count);
        if (y) kernels::axpy(b[states + n], h, y, count);
      }
    }

    const Mamba& layer_;
    int64_t time_;
    Rows rows_;
  };

  // Computes the block. `frames_of` turns the rows of in_proj, whose first halves are u, into
  // frames with history. `h` is the state before and after.
  template <typename FramesOf>
  Sequence run_block(Run& run, const Sequence& input, float* h, FramesOf&& frames_of) const {
    const Sequence y = run.output_like(input, input.spec());
    const Sequence x = ops::mask_invalid(run, input);
    const int64_t steps = x.steps(), row = rank_ + 2 * fields_.d_state;
    auto* in = run.scratch<float>(steps, 2, inner_);
    auto* parameters = run.scratch<float>(steps, row);
    auto* dt = run.scratch<float>(steps, inner_);
    auto* gated = run.scratch<float>(steps, inner_);
    in_.apply(run, x.floats(), model_, steps, data(in_bias_), false, in, 2 * inner_);
    const float* u = convolve(run, x, frames_of(in));
    x_.apply(run, u, inner_, steps, nullptr, false, parameters, row);
    dt_.apply(run, parameters, row, steps, dt_bias_.data(), false, dt, inner_);
    ops::for_steps(run, steps, inner_, [&](int64_t begin, int64_t end) {
      kernels::unary(Unary::kSoftplus, dt + begin * inner_, dt + begin * inner_,
                     (end - begin) * inner_, 0);
    });
    // For each inner channel: the convolution, 7 operations of each state, the bias of dt, and 6
    // others.
    run.parallel().count(steps * inner_ * (2 * fields_.d_conv + 7 * fields_.d_state + 1 + 6));
    const size_t biases = in_bias_.size() + conv_bias_.size() + out_bias_.size();
    run.parallel().count(steps * static_cast<int64_t>(biases));
    ops::associative_scan(run,
                          {.batch = x.batch,
                           .time = x.time,
                           .lanes = inner_,
                           .planes = fields_.d_state,
                           .cost = fields_.d_state,
                           .scratch = 3},
                          Channels(*this, x.time, {u, dt, parameters, in, gated}), h);
    out_.apply(run, gated, inner_, steps, data(out_bias_), false, y.floats(), model_);
    return y;
  }

  Fields fields_;
  int64_t model_;
  int64_t inner_;
  int64_t rank_;
  ops::Linear in_, x_, dt_, out_;
  std::vector<float> dt_bias_, conv_, a_, d_, in_bias_, out_bias_, conv_bias_;
};

SL_REGISTER_LAYER(Mamba);

}  // namespace
}  // namespace sl
