// LSTM: z = x Wx + h Wh + b = [i f g o]; c = r(f) c + r(i) a(g); h = r(o) a(c), a being
// `activation` and r `recurrent_activation` (reference: recurrent.LSTM). Invalid steps leave the
// state alone. Complex input makes all but the weights complex.
#include "kernels/lstm.h"

#include <optional>

#include "kernels/pointwise.h"
#include "layers/builder.h"
#include "layers/recurrent/initial_carry.h"
#include "ops/activation.h"
#include "ops/elementwise.h"
#include "ops/linear.h"
#include "ops/recurrence.h"
#include "ops/recurrent_kernel.h"
#include "ops/shared_product.h"
#include "ops/zoneout.h"

namespace sl {
namespace {

using kernels::Binary;
using kernels::Unary;

struct LstmFields {
  explicit LstmFields(Config& config)
      : units(config.integer("units", 1)),
        use_bias(config.boolean("use_bias", true)),
        activation(read_activation(config, "activation", "tanh")),
        recurrent_activation(read_activation(config, "recurrent_activation", "sigmoid")),
        compute_dtype(config.optional_dtype("compute_dtype")),
        param_dtype(config.dtype("param_dtype", DType::kFloat32)),
        zoneout(ops::read_zoneout(config)),
        return_carry(config.boolean("return_carry", false)) {
    require_last_axis(config, "activation", activation, 3);
    require_last_axis(config, "recurrent_activation", recurrent_activation, 3);
    config.ignore({"precision", "kernel_init", "kernel_sharding", "recurrent_kernel_init",
                   "recurrent_kernel_sharding", "bias_init", "bias_sharding"});
  }
  int64_t units;
  bool use_bias;
  Activation activation, recurrent_activation;
  std::optional<DType> compute_dtype;
  DType param_dtype;
  float zoneout;
  bool return_carry;
};

class Lstm final : public Layer, public ops::UnitRecurrence {
 public:
  struct Fields : LstmFields {
    explicit Fields(Config& config) : LstmFields(config), initial_carry(config) {}
    InitialCarryFields initial_carry;
  };

  Lstm(const Fields& fields, const Init& init)
      : fields_(fields),
        initial_carry_(fields.initial_carry, init),
        input_(projection("kernel", kAnySize, init.weights)),
        recurrent_(projection("recurrent_kernel", fields.units, init.weights)) {
    if (fields_.use_bias) {
      bias_ = init.weights.floats("bias", {4 * fields_.units});
      if (fields_.compute_dtype)
        ops::round_to(*fields_.compute_dtype, bias_.data(), 4 * fields_.units);
    }
    using Kernel = ops::RecurrentKernel;
    if (is_plain(compute_dtype(DType::kFloat32)) && Kernel::fits(input_, recurrent_)) {
      kernel_.emplace(Kernel::Kind::kLstm,
                      Kernel::Weights{&input_, &recurrent_, bias(), nullptr, unit_flop(kCellFlop)});
    }
  }

  ReceptiveFields receptive_field_per_step() const override { return {StepRange{-kInfinite, 0}}; }
  std::vector<const Layer*> children() const override { return initial_carry_.children(); }
  ChannelSpec child_input(const Layer&, const ChannelSpec&,
                          const Constants& constants) const override {
    return initial_carry_.input(constants);
  }
  std::vector<ConstantSpec> constants() const override { return initial_carry_.constants(); }

  std::optional<ChannelSpec> implied_input() const override {
    return ChannelSpec{DType::kFloat32, {input_.inputs()}};
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    const ChannelSpec out = spec_of(input);
    initial_carry_.check({carry_dtype(out.dtype), out.shape}, constants);
    return out;
  }
  ChannelSpec spec_of(const ChannelSpec& input) const {
    if (input.shape != Shape{input_.inputs()}) {
      fail(Code::kShape, "expected channels [{}], got {}", input_.inputs(), to_string(input.shape));
    }
    const DType compute = compute_dtype(input.dtype);
    if (!is_inexact(compute)) {
      fail(Code::kShape, "cannot compute on {}", name_of(input.dtype));
    }
    if (compute == DType::kComplex64) check_takes_complex();
    return {compute, {fields_.units}};
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    const DType dtype = carry_dtype(do_output_spec(input.channels, declaration.constants()).dtype);
    const Shape shape{input.batch, fields_.units};
    declaration.state("c", dtype, shape);
    declaration.state("h", dtype, shape);
    initial_carry_.declare(declaration, input);
    if (!fields_.return_carry) return;
    SequenceSpec emit = input;
    emit.channels = {dtype, {fields_.units}};
    declaration.emit("carry.c", emit);
    declaration.emit("carry.h", emit);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const DType compute = spec_of(x.spec()).dtype;
    const auto first = [&] {
      const int64_t size = checked_product(x.batch, fields_.units,
                                           static_cast<int64_t>(size_of(carry_dtype(compute))));
      auto* carry = run.scratch<std::byte>(size);
      std::fill_n(carry, size, std::byte());
      return carry;
    };
    std::byte* c = first();
    std::byte* h = first();
    initial_carry_.fill(run, carry_spec(compute), x.batch, c, h);
    return run_with(run, x, compute, c, h);
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    const auto c = run.state<std::byte>("c");
    const auto h = run.state<std::byte>("h");
    if (initial_carry_.exists()) {
      const DType compute = spec_of(x.spec()).dtype;
      initial_carry_.fill(run, carry_spec(compute), x.batch, c, h);
    }
    if (kernel_ && fields_.zoneout == 0 && !fields_.return_carry && kernel_->takes(x)) {
      return kernel_->step(run, x, reinterpret_cast<float*>(c.get()),
                           reinterpret_cast<float*>(h.get()),
                           ops::RecurrentKernel::Invalid::kState);
    }
    return run_with(run, x, spec_of(x.spec()).dtype, c, h);
  }

  ops::Linear projection(std::string_view name, int64_t rows, const WeightScope& weights) const {
    return weights.child(name).matrix("kernel", {rows, 4 * fields_.units},
                                      {.rounded = fields_.compute_dtype});
  }

  // Elementwise operations of a unit: the cell's, and the biases of its gates.
  int64_t unit_flop(int64_t cell) const { return cell + (bias_.empty() ? 0 : 4); }
  static constexpr int64_t kCellFlop = 9;

  // The dtype of products and gates.
  DType compute_dtype(DType input) const {
    return fields_.compute_dtype ? *fields_.compute_dtype
                                 : promote_inexact(input, fields_.param_dtype);
  }
  // Halves are kept as floats.
  static DType carry_dtype(DType compute) {
    return compute == DType::kComplex64 ? compute : DType::kFloat32;
  }
  ChannelSpec carry_spec(DType compute) const { return {carry_dtype(compute), {fields_.units}}; }
  void check_takes_complex() const {
    if (!ops::takes_complex(fields_.activation) ||
        !ops::takes_complex(fields_.recurrent_activation)) {
      fail(Code::kShape, "an activation takes no complex numbers");
    }
  }

  // Runs all steps. c and h [batch, units] hold the carry, on return that of the last valid step.
  Sequence run_with(Run& run, const Sequence& x, DType compute, std::byte* c, std::byte* h) const {
    const Sequence y = run.output_like(x, {compute, {fields_.units}});
    Emits emits;
    if (fields_.return_carry) emits = take_emits(run, y);
    if (compute == DType::kComplex64) {
      unroll_complex(run, x, y, emits, reinterpret_cast<complex64*>(c),
                     reinterpret_cast<complex64*>(h));
    } else {
      unroll(run, x, y, emits, reinterpret_cast<float*>(c), reinterpret_cast<float*>(h));
    }
    return y;
  }

  // The carry after each step, where it is wanted. An invalid step has that of the step before it.
  struct Emits {
    std::byte* c = nullptr;
    std::byte* h = nullptr;
  };
  static Emits take_emits(Run& run, const Sequence& y) {
    const auto take = [&] {
      const Sequence emit = run.next_emit();
      if (emit.mask) std::copy_n(y.mask, y.steps(), emit.mask);
      return emit.values;
    };
    Emits emits;
    emits.c = take();
    emits.h = take();
    return emits;
  }
  // Writes `count` values of the carry to the emit, from its value `at` on, if it is wanted.
  template <typename T>
  static void put(std::byte* emit, const T* carry, int64_t count, int64_t at) {
    if (emit) std::copy_n(carry, count, reinterpret_cast<T*>(emit) + at);
  }

  void unroll(Run& run, const Sequence& x, const Sequence& y, const Emits& emits, float* c,
              float* h) const {
    const DType compute = y.dtype;
    const bool halves = compute != DType::kFloat32;
    const int64_t units = fields_.units, gates = 4 * units;
    float* out = halves ? run.scratch<float>(y.size()) : y.floats();
    const float* in = ops::as_floats(run, x, compute);
    run.parallel().count(unit_flop(kCellFlop) * units * x.steps());
    if (fields_.zoneout > 0) run.parallel().count(2 * ops::kZoneoutFlop * units * x.steps());
    // Units are shared among threads only if the kernel applies; the other path is slower anyway.
    const int64_t parts = is_plain(compute) ? ops::unit_parts(run, units, units * gates) : 1;
    const int64_t at_once = ops::steps_at_once(run, x.time, 1, parts);
    float* z = run.scratch<float>(x.batch, at_once, gates);
    const Carry carry = carry_of(run, x, c, h, halves);
    const Steps steps(*this, x, in, out, emits);
    std::optional<ops::SharedRecurrence> shared;
    const ops::RecurrenceParts shares =
        is_plain(compute) && fields_.zoneout == 0
            ? ops::recurrence_parts(run, unit_sizes(), steps, x.batch, parts)
            : ops::RecurrenceParts();
    if (shares.count > 1) shared.emplace(run, *this, steps, x.batch, x.time, shares);
    const auto share = [&](int64_t t) { return carry.share(*shared, t, x.batch * units); };
    const auto step = [&](ops::StepSpan span, int64_t t, ops::Units some) {
      const int64_t at = (t - span.begin) % at_once;
      if (at == 0) project(run, x, in, {t, span.end}, at_once, some, z, compute);
      advance(run, x, t, some, z + at * gates, at_once * gates, carry, compute);
      for (int64_t b = 0; b < x.batch; ++b) {
        const float* made = carry.next_h(t) + b * units + some.begin;
        std::copy_n(made, some.size(), out + (b * x.time + t) * units + some.begin);
      }
      if (fields_.zoneout > 0) zone_out(x, t, some, carry, compute);
      for (int64_t b = 0; b < x.batch && fields_.return_carry; ++b) {
        const int64_t from = b * units + some.begin, to = (b * x.time + t) * units + some.begin;
        put(emits.c, carry.c + from, some.size(), to);
        put(emits.h, carry.next_h(t) + from, some.size(), to);
      }
    };
    ops::recur(run, shared ? &*shared : nullptr, x.time, units, parts, share, step);
    if (x.time % 2 != 0) std::copy_n(carry.h[1], x.batch * units, h);
    if (halves) ops::convert(out, DType::kFloat32, y.values, compute, y.size());
  }

  // Real and imaginary parts meet the weights, which are real, as rows of their own.
  void unroll_complex(Run& run, const Sequence& x, const Sequence& y, const Emits& emits,
                      complex64* c, complex64* h) const {
    const int64_t units = fields_.units, gates = 4 * units, steps = x.steps();
    const int64_t inputs = input_.inputs(), parts = x.dtype == DType::kComplex64 ? 2 : 1;
    auto* z = run.scratch<float>(2, steps, gates);
    std::fill_n(z, 2 * steps * gates, 0.0f);
    input_.apply(run, ops::real_parts(run, x), inputs, parts * steps, nullptr, false, z, gates);
    // Functions and real biases count once, complex products 6 times, sums twice.
    run.parallel().count(unit_flop(33) * units * steps);
    // c and h have two parts each.
    if (fields_.zoneout > 0) run.parallel().count(4 * ops::kZoneoutFlop * units * steps);
    auto* row = run.scratch<complex64>(gates);
    auto* last = run.scratch<float>(2, units);
    auto* recurrent = run.scratch<float>(2, gates);
    for (int64_t step = 0; step < steps; ++step) {
      complex64* own_c = c + step / x.time * units;
      complex64* own_h = h + step / x.time * units;
      complex64* made = y.as<complex64>() + step * units;
      std::fill_n(made, units, complex64());
      if (x.mask[step]) {
        for (int64_t i = 0; i < units; ++i) {
          last[i] = own_h[i].real();
          last[units + i] = own_h[i].imag();
        }
        recurrent_.apply(run, last, units, 2, nullptr, false, recurrent, gates);
        for (int64_t i = 0; i < gates; ++i) {
          const float bias = bias_.empty() ? 0.0f : bias_[static_cast<size_t>(i)];
          row[i] = {z[step * gates + i] + recurrent[i] + bias,
                    z[(steps + step) * gates + i] + recurrent[gates + i]};
        }
        gated_complex(row, own_c, own_h, made);
      }
      put(emits.c, own_c, units, step * units);
      put(emits.h, own_h, units, step * units);
    }
  }

  // One step: c and h become the next ones, z is used up, and h before zoneout goes to y.
  void gated_complex(complex64* z, complex64* c, complex64* h, complex64* y) const {
    const int64_t units = fields_.units;
    const complex64 *i = z, *f = z + units, *g = z + 2 * units, *o = z + 3 * units;
    ops::activate(z, 2 * units, fields_.recurrent_activation);
    ops::activate(z + 2 * units, units, fields_.activation);
    ops::activate(z + 3 * units, units, fields_.recurrent_activation);
    const float kept = fields_.zoneout;
    for (int64_t k = 0; k < units; ++k) z[k] = f[k] * c[k] + i[k] * g[k];  // the next c, over i
    std::copy_n(z, units, y);
    ops::activate(y, units, fields_.activation);
    for (int64_t k = 0; k < units; ++k) {
      y[k] *= o[k];
      c[k] = kept * c[k] + (1 - kept) * z[k];
      h[k] = kept * h[k] + (1 - kept) * y[k];
    }
  }

  // Arrays [batch, units]. Each step reads h from one buffer and writes it to the other.
  struct Carry {
    float* c;
    float* h[2];
    float* old_c;      // the previous c, for zoneout
    float* recurrent;  // product of one item, in half precision

    const float* last_h(int64_t t) const { return h[t % 2]; }
    float* next_h(int64_t t) const { return h[(t + 1) % 2]; }
    // Runs steps from t on, and puts the carry where the step after them reads it.
    int64_t share(ops::SharedRecurrence& shared, int64_t t, int64_t size) const {
      const int64_t count = shared.run(t, c, h[t % 2]);
      if (count % 2 != 0) std::copy_n(last_h(t), size, next_h(t));
      return count;
    }
  };

  // The steps of a plain layer, as threads share them.
  class Steps final : public ops::RecurrentSteps {
   public:
    Steps(const Lstm& lstm, const Sequence& x, const float* in, float* out, const Emits& emits)
        : lstm_(lstm), x_(x), in_(in), out_(out), emits_(emits) {}

    int64_t rows(int64_t) const override { return x_.batch; }
    const float* x(int64_t t, int64_t i) const override {
      return in_ + (i * x_.time + t) * lstm_.input_.inputs();
    }
    bool keeps(int64_t t, int64_t i) const override { return *x_.mask_at(i, t) == 0; }
    bool has_all_rows() const override { return true; }
    void take(int64_t t, int64_t first, int64_t end, const float* c,
              const float* h) const override {
      const int64_t units = lstm_.fields_.units;
      for (int64_t b = first; b < end; ++b, c += units, h += units) {
        const int64_t to = (b * x_.time + t) * units;
        std::copy_n(h, units, out_ + to);
        put(emits_.c, c, units, to);
        put(emits_.h, h, units, to);
      }
    }

   private:
    const Lstm& lstm_;
    const Sequence& x_;
    const float* in_;
    float* out_;
    const Emits& emits_;
  };

  Sizes unit_sizes() const override {
    return {input_.inputs(), fields_.units, 4 * fields_.units, true};
  }
  void project_units(const float* x, int64_t rows, ops::Units some, float* z) const override {
    ops::apply_gates(input_, fields_.units, some, x, input_.inputs(), rows, bias(), false, z,
                     4 * fields_.units);
  }
  void advance_units(float* z, int64_t rows, ops::Units some, float* c, const float* h,
                     float* next_h, float*) const override {
    const int64_t units = fields_.units, begin = some.begin;
    ops::apply_gates(recurrent_, units, some, h, units, rows, nullptr, true, z, 4 * units);
    for (int64_t i = 0; i < rows; ++i) {
      kernels::lstm_cell(z + i * 4 * units + begin, units, c + i * units + begin,
                         next_h + i * units + begin, some.size());
    }
  }
  Carry carry_of(Run& run, const Sequence& x, float* c, float* h, bool halves) const {
    const int64_t size = x.batch * fields_.units;
    return {c,
            {h, run.scratch<float>(size)},
            fields_.zoneout > 0 ? run.scratch<float>(size) : nullptr,
            halves ? run.scratch<float>(4, fields_.units) : nullptr};
  }
  // Whether the kernel applies: float32 with the default activations.
  bool is_plain(DType compute) const {
    return compute == DType::kFloat32 && fields_.activation.op == Unary::kTanh &&
           fields_.recurrent_activation.op == Unary::kSigmoid;
  }

  const float* bias() const { return bias_.empty() ? nullptr : bias_.data(); }

  // Computes z, the input projections of the span's first `at_once` steps for each item. Those of
  // invalid steps may be NaN and are not used.
  void project(Run& run, const Sequence& x, const float* in, ops::StepSpan span, int64_t at_once,
               ops::Units some, float* z, DType compute) const {
    const int64_t inputs = input_.inputs(), gates = 4 * fields_.units;
    // In half precision the bias is added later, after the rounded sum.
    const float* bias = compute == DType::kFloat32 ? this->bias() : nullptr;
    const int64_t steps = std::min(at_once, span.end - span.begin);
    const bool all = steps == x.time;
    const int64_t products = all ? 1 : x.batch, rows = all ? x.steps() : steps;
    for (int64_t b = 0; b < products; ++b) {
      ops::apply_gates(run, input_, fields_.units, some, in + (b * x.time + span.begin) * inputs,
                       inputs, rows, bias, false, z + b * at_once * gates, gates);
    }
  }

  // Advances some units by step t. z has its input projections, with items `z_stride` apart.
  void advance(Run& run, const Sequence& x, int64_t t, ops::Units some, float* z, int64_t z_stride,
               const Carry& carry, DType compute) const {
    const int64_t units = fields_.units, begin = some.begin;
    const float* last = carry.last_h(t);
    if (x.batch == 1 && kernel_ && compute == DType::kFloat32 && !ops::may_share(run, recurrent_)) {
      advance_one(run, x, t, some, z, carry);
      return;
    }
    // One pass over the weights serves the whole batch.
    if (compute == DType::kFloat32) {
      ops::apply_gates(run, recurrent_, units, some, last, units, x.batch, nullptr, true, z,
                       z_stride);
    }
    for (int64_t b = 0; b < x.batch; ++b) {
      float* at = z + b * z_stride;
      float* c = carry.c + b * units;
      float* h = carry.next_h(t) + b * units;
      if (carry.old_c) std::copy_n(c + begin, some.size(), carry.old_c + b * units + begin);
      if (is_plain(compute) && *x.mask_at(b, t)) {
        kernels::lstm_cell(at + begin, units, c + begin, h + begin, some.size());
        continue;
      }
      std::copy_n(last + b * units + begin, some.size(), h + begin);
      if (!*x.mask_at(b, t)) continue;
      if (compute != DType::kFloat32) add_recurrent(run, at, carry.recurrent, h, compute);
      gated(at, c, h, compute);
    }
  }

  // Advances the only item, by one kernel.
  void advance_one(Run& run, const Sequence& x, int64_t t, ops::Units some, float* z,
                   const Carry& carry) const {
    if (carry.old_c) std::copy_n(carry.c + some.begin, some.size(), carry.old_c + some.begin);
    if (!x.mask[t]) {
      std::copy_n(carry.last_h(t) + some.begin, some.size(), carry.next_h(t) + some.begin);
      return;
    }
    kernel_->advance(run, z, some, carry.c, carry.last_h(t), carry.next_h(t), nullptr);
  }

  void zone_out(const Sequence& x, int64_t t, ops::Units some, const Carry& carry,
                DType compute) const {
    for (int64_t b = 0; b < x.batch; ++b) {
      if (!*x.mask_at(b, t)) continue;
      const int64_t at = b * fields_.units + some.begin;
      ops::zone_out(fields_.zoneout, carry.old_c + at, carry.c + at, some.size(), compute);
      ops::zone_out(fields_.zoneout, carry.last_h(t) + at, carry.next_h(t) + at, some.size(),
                    compute);
    }
  }

  // Computes as the reference does in bfloat16 or float16, where every result is rounded.
  void add_recurrent(Run& run, float* z, float* recurrent, const float* h, DType compute) const {
    const int64_t gates = 4 * fields_.units;
    ops::round_to(compute, z, gates);
    recurrent_.apply(run, h, fields_.units, 1, nullptr, false, recurrent, gates);
    ops::round_to(compute, recurrent, gates);
    kernels::binary(Binary::kAdd, z, recurrent, z, gates);
    ops::round_to(compute, z, gates);
    if (!bias_.empty()) {
      kernels::binary(Binary::kAdd, z, bias_.data(), z, gates);
      ops::round_to(compute, z, gates);
    }
  }

  // Computes the cell with any activations, one operation after the other. Overwrites z.
  void gated(float* z, float* c, float* h, DType compute) const {
    const int64_t units = fields_.units;
    float* i = z;
    float* f = z + units;
    float* g = z + 2 * units;
    float* o = z + 3 * units;
    ops::activate(i, units, fields_.recurrent_activation, compute);
    ops::activate(f, units, fields_.recurrent_activation, compute);
    ops::activate(g, units, fields_.activation, compute);
    ops::activate(o, units, fields_.recurrent_activation, compute);
    const auto combine = [&](Binary op, const float* a, const float* b, float* to) {
      kernels::binary(op, a, b, to, units);
      ops::round_to(compute, to, units);
    };
    combine(Binary::kMultiply, f, c, c);
    combine(Binary::kMultiply, i, g, g);
    combine(Binary::kAdd, c, g, c);
    std::memcpy(h, c, static_cast<size_t>(units) * sizeof(float));
    ops::activate(h, units, fields_.activation, compute);
    combine(Binary::kMultiply, o, h, h);
  }

  LstmFields fields_;
  InitialCarry initial_carry_;
  ops::Linear input_;
  ops::Linear recurrent_;
  std::vector<float> bias_;
  std::optional<ops::RecurrentKernel> kernel_;  // of float32 with the default activations
};

SL_REGISTER_LAYER_AS(LSTM, Lstm);

}  // namespace
}  // namespace sl
