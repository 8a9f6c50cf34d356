// The cells of Flax with dense gates (reference: flax.linen.recurrent). The kernels of all gates
// lie side by side, in one product for the input and one for the carry.
//   LSTMCell, OptimizedLSTMCell: c = f c + i g; h = o a(c)
//   SimpleCell: h = a(x Wi + b + h Wh [+ h])
//   GRUCell: n = a(x Wn + b + r (h Un + bn)); h = (1 - z) n + z h; unless reset_after, (r h) Un
//   MGUCell: n = a(x Wn + b + f (h Un + bn)); h = (1 - f) n + f h; f is 1 in n without reset_gate
#include <algorithm>

#include "kernels/gru.h"
#include "kernels/lstm.h"
#include "kernels/pointwise.h"
#include "layers/recurrent/cell.h"
#include "ops/activation.h"
#include "ops/elementwise.h"
#include "ops/linear.h"
#include "ops/shared_product.h"
#include "ops/zoneout.h"

namespace sl {

CellFields::CellFields(Config& config)
    : features(config.integer("features", 1)),
      dtype(config.optional_dtype("dtype")),
      param_dtype(config.dtype("param_dtype", DType::kFloat32)),
      first_carry(config.choice("carry_init", {"zeros", "ones"}, 0) == 1 ? 1.0f : 0.0f),
      zoneout(ops::read_zoneout(config)) {
  config.ignore({"name", "kernel_init", "recurrent_kernel_init", "bias_init"});
}

namespace {

using kernels::Binary;
using kernels::Unary;

enum class CellKind { kLstm, kSimple, kGru, kMgu };

struct DenseCellFields : CellFields {
  DenseCellFields(Config& config, CellKind kind_)
      : CellFields(config),
        kind(kind_),
        activation(read_activation(config, "activation_fn", "tanh")) {
    if (kind != CellKind::kSimple) gate = read_activation(config, "gate_fn", "sigmoid");
    require_last_axis(config, "activation_fn", activation);
    require_last_axis(config, "gate_fn", gate);
    if (kind == CellKind::kSimple) residual = config.boolean("residual", false);
    if (kind == CellKind::kGru) reset = config.boolean("reset_after", true);
    if (kind == CellKind::kMgu) {
      reset = config.boolean("reset_gate", true);
      config.ignore({"forget_bias_init", "activation_bias_init"});
    }
    config.finish();
  }
  CellKind kind;
  Activation activation, gate;
  bool residual = false;
  bool reset = false;  // GRUCell: reset after the product; MGUCell: whether it has a reset gate
};

// The names of the gates in the weights, in the order in which their kernels lie side by side.
std::vector<std::string> gates_of(CellKind kind) {
  switch (kind) {
    case CellKind::kLstm:
      return {"i", "f", "g", "o"};
    case CellKind::kSimple:
      return {""};
    case CellKind::kGru:
      return {"r", "z", "n"};
    case CellKind::kMgu:
      return {"f", "n"};
  }
  return {};
}

class DenseCell final : public Cell, public ops::UnitRecurrence {
 public:
  DenseCell(const DenseCellFields& fields, const WeightScope& weights)
      : fields_(fields),
        gates_(static_cast<int64_t>(gates_of(fields.kind).size())),
        halves_weights_(fields.dtype.value_or(fields.param_dtype)),
        input_(merged("i", kAnySize, 0, gates_, weights)),
        recurrent_(merged("h", fields.features, 0, early_gates(), weights)),
        input_bias_(static_cast<size_t>(gates_ * fields.features)),
        recurrent_bias_(input_bias_.size()) {
    if (early_gates() < gates_)
      late_.push_back(merged("h", fields.features, early_gates(), gates_, weights));
    const bool lstm = fields_.kind == CellKind::kLstm;
    for (int64_t gate = 0; gate < gates_; ++gate) {
      const std::string name = gates_of(fields_.kind)[static_cast<size_t>(gate)];
      const bool last = gate == gates_ - 1;
      const bool both = fields_.reset && last;
      read_bias(lstm ? "h" + name : "i" + name, gate, weights,
                lstm ? recurrent_bias_ : input_bias_);
      if (both) read_bias("h" + name, gate, weights, recurrent_bias_);
    }
    using Kernel = ops::RecurrentKernel;
    if (is_plain(compute(DType::kFloat32)) && Kernel::fits(input_, recurrent_)) {
      kernel_.emplace(
          lstm ? Kernel::Kind::kLstm : Kernel::Kind::kGru,
          Kernel::Weights{&input_, &recurrent_, (lstm ? recurrent_bias_ : input_bias_).data(),
                          recurrent_bias_.data(), elementwise_flop()});
    }
  }

  ChannelSpec output_spec(const ChannelSpec& input) const override {
    if (input.shape.rank() == 0 || input.shape.back() != input_.inputs()) {
      fail(Code::kShape, "expected channels [..., {}], got {}", input_.inputs(),
           to_string(input.shape));
    }
    const DType compute = fields_.compute(input.dtype);
    if (!is_float(compute)) fail(Code::kShape, "cannot compute on {}", name_of(input.dtype));
    Shape shape = input.shape;
    shape.back() = fields_.features;
    return {promote_inexact(compute, fields_.param_dtype), shape};
  }
  std::optional<ChannelSpec> implied_input() const override {
    return ChannelSpec{DType::kFloat32, {input_.inputs()}};
  }
  bool has_c() const override { return fields_.kind == CellKind::kLstm; }
  DType compute(DType input) const override { return fields_.compute(input); }
  float first_carry() const override { return fields_.first_carry; }
  float zoneout() const override { return fields_.zoneout; }
  int64_t projection_size(const Shape& input) const override {
    return cells_of(input) * gates_ * fields_.features;
  }
  int64_t scratch_size(const Shape& input, int64_t rows) const override {
    return checked_product(rows, cells_of(input), gates_ + 1, fields_.features);
  }

  const ops::RecurrentKernel* kernel() const override { return kernel_ ? &*kernel_ : nullptr; }

  void project(const Run& run, const float* x, int64_t rows, const ChannelSpec& input,
               ops::Units some, float*, float* z) const override {
    const DType dtype = compute(input.dtype);
    const int64_t size = gates_ * fields_.features;
    one_cell_a_row(input.shape, rows, some);
    // In float32 nothing is rounded, so an LSTM can add its only bias, the recurrent one, to z
    // here.
    const std::vector<float>& bias =
        fields_.kind == CellKind::kLstm && dtype == DType::kFloat32 ? recurrent_bias_ : input_bias_;
    product(run, input_, some, x, input_.inputs(), rows, bias.data(), z, size, dtype);
  }

  bool has_parts(const ChannelSpec& input) const override {
    return compute(input.dtype) == DType::kFloat32 && late_.empty() &&
           fields_.activation.is_elementwise() && fields_.gate.is_elementwise() &&
           cells_of(input.shape) == 1;
  }

  const ops::UnitRecurrence* unit_recurrence() const override {
    return is_plain(DType::kFloat32) ? this : nullptr;
  }

  void advance(const Run& run, float* z, int64_t rows, const ChannelSpec& input, ops::Units some,
               float* c, const float* h, float* next_h, float* scratch) const override {
    const DType dtype = compute(input.dtype);
    one_cell_a_row(input.shape, rows, some);
    run.parallel().count(rows * some.size() * elementwise_flop());
    if (is_plain(dtype)) {
      advance_plain(run, z, rows, some, c, h, next_h, scratch);
      return;
    }
    const int64_t units = fields_.features, size = gates_ * units;
    if (dtype == DType::kFloat32 &&
        (fields_.kind == CellKind::kLstm || fields_.kind == CellKind::kSimple)) {
      ops::apply_gates(run, recurrent_, units, some, h, units, rows, nullptr, true, z, size);
    } else {
      const float* from = h;
      if (dtype != DType::kFloat32) {
        float* rounded = scratch + rows * size;
        std::copy_n(h, rows * units, rounded);
        ops::round_to(dtype, rounded, rows * units);
        from = rounded;
      }
      product(run, recurrent_, some, from, units, rows, recurrent_bias_.data(), scratch, size,
              dtype);
    }
    if (!late_.empty()) reset_before(run, z, rows, h, scratch, dtype);
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t gate = row * size + some.begin, unit = row * units + some.begin;
      std::copy_n(h + unit, some.size(), next_h + unit);
      cell(z + gate, scratch + gate, c ? c + unit : nullptr, next_h + unit, {some.size(), dtype});
    }
  }

 private:
  // The number of cells in a row: one for each position on the axes before the last.
  int64_t cells_of(const Shape& input) const { return input.size() / input_.inputs(); }
  // Turns rows of several cells into rows of one cell each, with all units.
  void one_cell_a_row(const Shape& input, int64_t& rows, ops::Units& some) const {
    const int64_t cells = cells_of(input);
    if (cells == 1) return;
    rows *= cells;
    some = {0, fields_.features};
  }

  // The number of units and the dtype of their computation.
  struct Part {
    int64_t count;
    DType dtype;
  };

  // Operations of a unit beside the products with weights: biases, sums, products and activations.
  // The last gate has two biases if it is reset after its product.
  int64_t elementwise_flop() const {
    switch (fields_.kind) {
      case CellKind::kLstm:
        return 4 + 9;
      case CellKind::kSimple:
        return 1 + (fields_.residual ? 2 : 1);
      case CellKind::kGru:
        return 3 + (fields_.reset ? 1 : 0) + 11;
      case CellKind::kMgu:
        return 2 + (fields_.reset ? 1 + 9 : 8);
    }
    return 0;
  }

  // Whether there is a kernel for the whole cell.
  bool is_plain(DType dtype) const {
    return dtype == DType::kFloat32 && fields_.activation.op == Unary::kTanh &&
           fields_.gate.op == Unary::kSigmoid &&
           (fields_.kind == CellKind::kLstm || (fields_.kind == CellKind::kGru && fields_.reset));
  }
  void advance_plain(const Run& run, float* z, int64_t rows, ops::Units some, float* c,
                     const float* h, float* next_h, float* u) const {
    if (rows == 1 && kernel_ && !ops::may_share(run, recurrent_)) {
      kernel_->advance(run, z, some, c, h, next_h, u);
      return;
    }
    const int64_t units = fields_.features, size = gates_ * units;
    const bool lstm = fields_.kind == CellKind::kLstm;
    // The biases of an LSTM are already in z.
    ops::apply_gates(run, recurrent_, units, some, h, units, rows,
                     lstm ? nullptr : recurrent_bias_.data(), lstm, lstm ? z : u, size);
    plain_cells(z, rows, some, c, h, next_h, u);
  }
  // Computes some units of the rows by the kernel.
  void plain_cells(float* z, int64_t rows, ops::Units some, float* c, const float* h, float* next_h,
                   const float* u) const {
    const int64_t units = fields_.features, size = gates_ * units, begin = some.begin;
    const bool lstm = fields_.kind == CellKind::kLstm;
    for (int64_t row = 0; row < rows; ++row, z += size, u += size, h += units, next_h += units) {
      if (!lstm) {
        kernels::gru_cell(z + begin, u + begin, units, h + begin, next_h + begin, some.size());
        continue;
      }
      kernels::lstm_cell(z + begin, units, c + begin, next_h + begin, some.size());
      c += units;
    }
  }

  Sizes unit_sizes() const override {
    return {input_.inputs(), fields_.features, gates_ * fields_.features, has_c()};
  }
  void project_units(const float* x, int64_t rows, ops::Units some, float* z) const override {
    ops::apply_gates(input_, fields_.features, some, x, input_.inputs(), rows,
                     (fields_.kind == CellKind::kLstm ? recurrent_bias_ : input_bias_).data(),
                     false, z, gates_ * fields_.features);
  }
  void advance_units(float* z, int64_t rows, ops::Units some, float* c, const float* h,
                     float* next_h, float* u) const override {
    const bool lstm = fields_.kind == CellKind::kLstm;
    ops::apply_gates(recurrent_, fields_.features, some, h, fields_.features, rows,
                     lstm ? nullptr : recurrent_bias_.data(), lstm, lstm ? z : u,
                     gates_ * fields_.features);
    plain_cells(z, rows, some, c, h, next_h, u);
  }

  // The number of gates whose product with the carry does not wait for the reset gate.
  int64_t early_gates() const {
    return fields_.kind == CellKind::kGru && !fields_.reset ? gates_ - 1 : gates_;
  }

  ops::Linear merged(const char* side, int64_t inputs, int64_t begin, int64_t end,
                     const WeightScope& weights) const {
    std::vector<MatrixPart> parts;
    for (int64_t gate = begin; gate < end; ++gate) {
      const std::string name = side + gates_of(fields_.kind)[static_cast<size_t>(gate)];
      parts.push_back({name + ".kernel", {inputs, fields_.features}});
    }
    return weights.matrix(parts, {.rounded = halves_weights_});
  }

  void read_bias(const std::string& name, int64_t gate, const WeightScope& weights,
                 std::vector<float>& to) const {
    const int64_t units = fields_.features;
    std::vector<float> bias = weights.child(name).floats("bias", {units});
    ops::round_to(halves_weights_, bias.data(), units);
    std::copy_n(bias.data(), units, to.data() + gate * units);
  }

  // y = x W + bias. In half precision product and sum are each rounded, and all units are computed.
  void product(const Run& run, const ops::Linear& linear, ops::Units some, const float* x,
               int64_t x_stride, int64_t rows, const float* bias, float* y, int64_t y_stride,
               DType dtype) const {
    const bool halves = dtype != DType::kFloat32;
    ops::apply_gates(run, linear, fields_.features, some, x, x_stride, rows,
                     halves ? nullptr : bias, false, y, y_stride);
    if (!halves) return;
    for (int64_t row = 0; row < rows; ++row) {
      float* to = y + row * y_stride;
      ops::round_to(dtype, to, linear.outputs());
      combine(Binary::kAdd, to, bias, to, {linear.outputs(), dtype});
    }
  }

  static void combine(Binary op, const float* a, const float* b, float* to, const Part& part) {
    kernels::binary(op, a, b, to, part.count);
    ops::round_to(part.dtype, to, part.count);
  }
  static void activate(float* values, Activation activation, const Part& part) {
    ops::activate(values, part.count, activation, part.dtype);
  }
  Part carried(const Part& part) const {
    return {part.count, promote_inexact(part.dtype, fields_.param_dtype)};
  }

  // GRUCell: computes the product of r h, which needs r of all units.
  void reset_before(const Run& run, float* z, int64_t rows, const float* h, float* u,
                    DType dtype) const {
    const int64_t units = fields_.features, size = gates_ * units;
    const Part all{units, dtype};
    float* gated = u + rows * size;
    for (int64_t row = 0; row < rows; ++row) {
      float* r = z + row * size;
      combine(Binary::kAdd, r, u + row * size, r, all);
      activate(r, fields_.gate, all);
      combine(Binary::kMultiply, r, h + row * units, gated + row * units, all);
    }
    product(run, late_.front(), {0, units}, gated, units, rows, recurrent_bias_.data() + 2 * units,
            u + 2 * units, size, dtype);
  }

  // Computes some units of one row from the gates z of the input and u of the carry, which are each
  // `features` apart.
  void cell(float* z, float* u, float* c, float* h, const Part& part) const {
    switch (fields_.kind) {
      case CellKind::kLstm:
        return lstm(z, u, c, h, part);
      case CellKind::kSimple:
        return simple(z, u, h, part);
      case CellKind::kGru:
        return gru(z, u, h, part);
      case CellKind::kMgu:
        return mgu(z, u, h, part);
    }
  }

  void lstm(float* z, const float* u, float* c, float* h, const Part& part) const {
    const int64_t units = fields_.features;
    const Part carry = carried(part);
    for (int64_t gate = 0; gate < 4; ++gate) {
      float* to = z + gate * units;
      if (part.dtype != DType::kFloat32) combine(Binary::kAdd, to, u + gate * units, to, part);
      activate(to, gate == 2 ? fields_.activation : fields_.gate, part);
    }
    combine(Binary::kMultiply, z, z + 2 * units, z, part);
    combine(Binary::kMultiply, z + units, c, c, carry);
    combine(Binary::kAdd, c, z, c, carry);
    std::copy_n(c, part.count, h);
    activate(h, fields_.activation, carry);
    combine(Binary::kMultiply, z + 3 * units, h, h, carry);
  }

  void simple(float* z, const float* u, float* h, const Part& part) const {
    if (part.dtype != DType::kFloat32) combine(Binary::kAdd, z, u, z, part);
    const Part sum = fields_.residual ? carried(part) : part;
    if (fields_.residual) combine(Binary::kAdd, z, h, z, sum);
    activate(z, fields_.activation, sum);
    std::copy_n(z, part.count, h);
  }

  void gru(float* z, float* u, float* h, const Part& part) const {
    const int64_t units = fields_.features;
    for (int64_t gate = fields_.reset ? 0 : 1; gate < 2; ++gate) {
      combine(Binary::kAdd, z + gate * units, u + gate * units, z + gate * units, part);
      activate(z + gate * units, fields_.gate, part);
    }
    float* n = z + 2 * units;
    float* from = u + 2 * units;
    if (fields_.reset) combine(Binary::kMultiply, z, from, from, part);
    combine(Binary::kAdd, n, from, n, part);
    activate(n, fields_.activation, part);
    blend(z + units, n, h, z, part);
  }

  void mgu(float* z, float* u, float* h, const Part& part) const {
    const int64_t units = fields_.features;
    float* n = z + units;
    combine(Binary::kAdd, z, u, z, part);
    activate(z, fields_.gate, part);
    if (fields_.reset) combine(Binary::kMultiply, z, u + units, u + units, part);
    combine(Binary::kAdd, n, u + units, n, part);
    activate(n, fields_.activation, part);
    blend(z, n, h, u, part);
  }

  // h = (1 - keep) n + keep h. Overwrites n and `spare`.
  void blend(const float* keep, float* n, float* h, float* spare, const Part& part) const {
    combine(Binary::kMultiply, keep, h, h, carried(part));
    kernels::binary_scalar(Binary::kSubtract, keep, 1.0f, spare, part.count);
    kernels::binary_scalar(Binary::kMultiply, spare, -1.0f, spare, part.count);
    ops::round_to(part.dtype, spare, part.count);
    combine(Binary::kMultiply, spare, n, n, part);
    combine(Binary::kAdd, n, h, h, carried(part));
  }

  DenseCellFields fields_;
  int64_t gates_;
  DType halves_weights_;  // dtype that the weights are rounded to
  ops::Linear input_;
  ops::Linear recurrent_;
  std::vector<ops::Linear> late_;  // the product of the last gate, if it waits for the reset gate
  std::vector<float> input_bias_, recurrent_bias_;
  std::optional<ops::RecurrentKernel> kernel_;
};

}  // namespace

std::unique_ptr<Cell> make_dense_cell(Config& config, const WeightScope& weights) {
  const std::pair<const char*, CellKind> kinds[] = {{"LSTMCell", CellKind::kLstm},
                                                    {"OptimizedLSTMCell", CellKind::kLstm},
                                                    {"SimpleCell", CellKind::kSimple},
                                                    {"GRUCell", CellKind::kGru},
                                                    {"MGUCell", CellKind::kMgu}};
  for (const auto& [name, kind] : kinds) {
    if (config.type() == name)
      return std::make_unique<DenseCell>(DenseCellFields(config, kind), weights);
  }
  return nullptr;
}

}  // namespace sl
