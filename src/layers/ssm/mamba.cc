// Selective state spaces (Gu & Dao 2023, Mamba): a gated block about a causal depthwise convolution
// and a diagonal recurrence, whose step dt, input B and output C are functions of the input:
// h = exp(dt A) h + dt B u, y = (C . h + D u) silu(z).
#include <nlohmann/json.hpp>

#include "kernels/depthwise.h"
#include "layers/builder.h"
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
        if (value > kMost) config.error("", "d_state, d_conv and expand can be at most 65536");
      }
    }

    int64_t d_state;
    int64_t d_conv;
    int64_t expand;
    std::optional<int64_t> dt_rank;  // empty: a sixteenth of the channels, rounded up
    bool bias;
    bool conv_bias;

   private:
    static constexpr int64_t kMost = 65536;

    static std::optional<int64_t> rank(Config& config) {
      config.note("dt_rank", "\"auto\" or integer, at least 1", "\"auto\"");
      const Json* value = config.raw("dt_rank");
      if (value == nullptr || *value == "auto") return std::nullopt;
      if (!value->is_number_integer() || *value < 1 || *value > kMost) {
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

  ChannelSpec output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input != ChannelSpec{DType::kFloat32, {model_}}) {
      fail(Code::kShape, "Mamba \"{}\": expected float32 channels [{}], got {} {}", name(), model_,
           name_of(input.dtype), to_string(input.shape));
    }
    return input;
  }

  std::optional<ChannelSpec> implied_input() const override {
    return ChannelSpec{DType::kFloat32, {model_}};
  }

  void declare(Declaration& declaration, const SequenceSpec& input) const override {
    declaration.state("conv", DType::kFloat32, {input.batch, fields_.d_conv - 1, inner_});
    declaration.state("h", DType::kFloat32, {input.batch, fields_.d_state, inner_});
  }

  Sequence layer(Run& run, const Sequence& x) const override {
    const int64_t history = x.batch * (fields_.d_conv - 1) * inner_;
    const int64_t size = x.batch * fields_.d_state * inner_;
    auto* state = run.scratch<float>(history + size);
    std::fill(state, state + history + size, 0.0f);
    return scan(run, x, state, state + history);
  }

  Sequence step(Run& run, const Sequence& x) const override {
    auto* history = run.state<float>();
    auto* h = run.state<float>();
    return scan(run, x, history, h);
  }

 private:
  static int64_t model_size(const WeightScope& weights) {
    const Tensor out = weights.child("out_proj").get_any("weight");
    return out.shape.rank() == 2 ? out.shape[0] : 1;  // another rank fails where it is read
  }

  static ops::Linear linear(const WeightScope& weights, const char* name, int64_t inputs,
                            int64_t outputs) {
    const std::vector<float> w = weights.child(name).floats("weight", {outputs, inputs});
    return {w.data(), 1, inputs, inputs, outputs};
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

  // u = silu(conv(u)), of all steps: [batch, time, inner]. The first half of each row of `in` is u.
  float* convolve(Run& run, const Sequence& x, const float* in, float* history) const {
    const int64_t before = fields_.d_conv - 1;
    auto* padded = run.scratch<float>((before + x.time) * inner_);
    auto* u = run.scratch<float>(x.steps() * inner_);
    for (int64_t b = 0; b < x.batch; ++b) {
      float* past = history + b * before * inner_;
      std::copy_n(past, before * inner_, padded);
      for (int64_t t = 0; t < x.time; ++t) {
        std::copy_n(in + (b * x.time + t) * 2 * inner_, inner_, padded + (before + t) * inner_);
        kernels::depthwise(padded + t * inner_, inner_, conv_.data(), data(conv_bias_),
                           fields_.d_conv, inner_, 1, u + (b * x.time + t) * inner_);
      }
      std::copy_n(padded + x.time * inner_, before * inner_, past);
    }
    kernels::unary(Unary::kSwish, u, u, x.steps() * inner_, 0);
    return u;
  }

  // One step of the recurrence: y = C . h + D u. `work` has [2, inner].
  void recur(const float* u, const float* dt, const float* b, const float* c, float* work, float* h,
             float* y) const {
    float* factor = work;
    float* drive = work + inner_;
    kernels::binary(Binary::kMultiply, dt, u, drive, inner_);
    kernels::binary(Binary::kMultiply, d_.data(), u, y, inner_);
    for (int64_t n = 0; n < fields_.d_state; ++n, h += inner_) {
      kernels::binary(Binary::kMultiply, dt, a_.data() + n * inner_, factor, inner_);
      kernels::unary(Unary::kExp, factor, factor, inner_, 0);
      kernels::binary(Binary::kMultiply, h, factor, h, inner_);
      kernels::axpy(b[n], drive, h, inner_);
      kernels::axpy(c[n], h, y, inner_);
    }
  }

  Sequence scan(Run& run, const Sequence& input, float* history, float* h) const {
    const Sequence y = run.output_like(input, input.spec());
    const Sequence x = ops::mask_invalid(run, input);
    const int64_t steps = x.steps(), states = fields_.d_state, row = rank_ + 2 * states;
    auto* in = run.scratch<float>(steps * 2 * inner_);
    auto* parameters = run.scratch<float>(steps * row);
    auto* dt = run.scratch<float>(steps * inner_);
    auto* gated = run.scratch<float>(steps * inner_);
    auto* work = run.scratch<float>(2 * inner_);
    in_.apply(run, x.floats(), model_, steps, data(in_bias_), false, in, 2 * inner_);
    const float* u = convolve(run, x, in, history);
    x_.apply(run, u, inner_, steps, nullptr, false, parameters, row);
    dt_.apply(run, parameters, row, steps, dt_bias_.data(), false, dt, inner_);
    kernels::unary(Unary::kSoftplus, dt, dt, steps * inner_, 0);
    for (int64_t step = 0; step < steps; ++step) {
      const float* b = parameters + step * row + rank_;
      float* gate = in + step * 2 * inner_ + inner_;
      float* out = gated + step * inner_;
      recur(u + step * inner_, dt + step * inner_, b, b + states, work,
            h + step / x.time * states * inner_, out);
      kernels::unary(Unary::kSwish, gate, gate, inner_, 0);
      kernels::binary(Binary::kMultiply, out, gate, out, inner_);
    }
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
