// Flax's ConvLSTMCell (reference: flax.linen.recurrent): gates [i g f o] of two convolutions over
// the channels' leading axes; c = sigmoid(f + 1) c + sigmoid(i) tanh(g); h = sigmoid(o) tanh(c).
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "kernels/pointwise.h"
#include "layers/recurrent/cell.h"
#include "ops/elementwise.h"
#include "ops/linear.h"

namespace sl {
namespace {

using kernels::Binary;
using kernels::Unary;

constexpr size_t kMaxAxes = 4;
using Indices = std::array<int64_t, kMaxAxes>;  // one for each axis

enum class Edge { kZero, kCircular, kReflect };

struct ConvCellFields : CellFields {
  explicit ConvCellFields(Config& config)
      : CellFields(config),
        kernel_size(config.integers("kernel_size")),
        use_bias(config.boolean("use_bias", true)) {
    if (kernel_size.empty() || kernel_size.size() > kMaxAxes ||
        std::any_of(kernel_size.begin(), kernel_size.end(),
                    [](int64_t k) { return k < 1 || k > 65536; }))
      config.error("kernel_size", "expected one to four integers from 1 to 65536");
    if (const auto strides = config.optional_integers("strides")) {
      if (std::any_of(strides->begin(), strides->end(), [](int64_t s) { return s != 1; }))
        config.error("strides", "expected 1, so that the carry keeps its shape");
    }
    read_padding(config);
    config.finish();
  }

  // Reads the padding on the low side of each axis. It must keep the shape, since the carry has a
  // fixed one.
  void read_padding(Config& config) {
    const Json* json = config.raw("padding");
    if (json && (json->is_array() || json->is_number())) {
      read_numbers(config, *json);
      return;
    }
    const size_t how =
        config.choice("padding", {"SAME", "CIRCULAR", "REFLECT", "CAUSAL", "VALID"}, 0);
    edge = how == 1 ? Edge::kCircular : how == 2 ? Edge::kReflect : Edge::kZero;
    if (how == 3 && kernel_size.size() != 1)
      config.error("padding", "CAUSAL is for one axis only: expected another padding");
    for (const int64_t k : kernel_size) {
      if (how == 4 && k != 1)
        config.error("padding",
                     "VALID keeps the shape only with kernel size 1: expected another padding");
      before.push_back(how == 3 ? k - 1 : (k - 1) / 2);
    }
  }
  // Reads padding as numbers: one for both sides of all axes, or for each axis a number or [low,
  // high].
  void read_numbers(const Config& config, const Json& json) {
    for (size_t axis = 0; axis < kernel_size.size(); ++axis) {
      const bool listed = json.is_array();
      const Json* of = !listed ? &json : axis < json.size() ? &json[axis] : nullptr;
      const bool pair = of && of->is_array() && of->size() == 2;
      const Json* low = pair ? &(*of)[0] : of;
      const Json* high = pair ? &(*of)[1] : of;
      if (!low || !low->is_number_integer() || !high->is_number_integer() ||
          (listed && json.size() != kernel_size.size())) {
        config.error("padding", "expected an integer or [low, high] for each axis");
      }
      const auto l = low->get<int64_t>(), h = high->get<int64_t>();
      if (l < 0 || l > kernel_size[axis] || h != kernel_size[axis] - 1 - l)
        config.error("padding", "expected low + high = kernel_size - 1, which keeps the shape");
      before.push_back(l);
    }
  }

  std::vector<int64_t> kernel_size;
  std::vector<int64_t> before;  // padding on the low side
  bool use_bias;
  Edge edge = Edge::kZero;
};

class ConvLstmCell final : public Cell {
 public:
  ConvLstmCell(ConvCellFields fields, const WeightScope& weights)
      : fields_(std::move(fields)),
        gates_(4 * fields_.features),
        input_(convolution("ih", kAnySize, weights)),
        recurrent_(convolution("hh", fields_.features, weights)),
        input_bias_(bias("ih", weights)),
        recurrent_bias_(bias("hh", weights)),
        offsets_(offsets()) {}

  ChannelSpec output_spec(const ChannelSpec& input) const override {
    const size_t axes = fields_.kernel_size.size();
    if (static_cast<size_t>(input.shape.rank()) != axes + 1 ||
        input.shape[input.shape.rank() - 1] * taps() != input_.inputs()) {
      fail(Code::kShape, "expected {} axes and channels {}, got {}", axes, input_.inputs() / taps(),
           to_string(input.shape));
    }
    const DType compute = fields_.compute(input.dtype);
    if (!is_float(compute) || input.dtype == DType::kComplex64)
      fail(Code::kShape, "cannot compute on {}", name_of(input.dtype));
    Shape shape;
    for (size_t i = 0; i < axes; ++i) shape.push_back(input.shape[static_cast<int>(i)]);
    shape.push_back(fields_.features);
    return {promote_inexact(compute, fields_.param_dtype), shape};
  }
  bool has_c() const override { return true; }
  DType compute(DType input) const override { return fields_.compute(input); }
  float first_carry() const override { return fields_.first_carry; }
  float zoneout() const override { return fields_.zoneout; }
  int64_t projection_size(const Shape& input) const override {
    return checked_product(positions(input), gates_);
  }
  // Scratch for the windows of one row and its gates.
  int64_t scratch_size(const Shape& input, int64_t) const override {
    return checked_product(positions(input),
                           std::max(input_.inputs(), recurrent_.inputs()) + gates_);
  }

  void project(const Run& run, const float* x, int64_t rows, const ChannelSpec& input, ops::Units,
               float* scratch, float* z) const override {
    const int64_t count = positions(input.shape);
    for (int64_t row = 0; row < rows; ++row) {
      convolve(run, input_, input_bias_, x + row * input.shape.size(), input, scratch,
               z + row * count * gates_);
    }
  }

  void advance(const Run& run, float* z, int64_t rows, const ChannelSpec& input, ops::Units,
               float* c, const float* h, float* next_h, float* scratch) const override {
    const DType dtype = compute(input.dtype), carry = promote_inexact(dtype, fields_.param_dtype);
    const int64_t count = positions(input.shape), units = fields_.features, size = count * units;
    float* u = scratch + count * std::max(input_.inputs(), recurrent_.inputs());
    // For each unit: the biases and sums of both convolutions, 1 + f, and 9 operations of the cell.
    run.parallel().count((14 + (fields_.use_bias ? 2 * 4 : 0)) * rows * size);
    for (int64_t row = 0; row < rows; ++row) {
      float* gates = z + row * count * gates_;
      convolve(run, recurrent_, recurrent_bias_, h + row * size, input, scratch, u, dtype);
      kernels::binary(Binary::kAdd, gates, u, gates, count * gates_);
      ops::round_to(dtype, gates, count * gates_);
      for (int64_t i = 0; i < count; ++i)
        cell(gates + i * gates_, c + row * size + i * units, next_h + row * size + i * units, dtype,
             carry);
    }
  }

 private:
  int64_t taps() const {
    int64_t count = 1;
    for (const int64_t k : fields_.kernel_size) count = checked_product(count, k);
    return count;
  }
  static int64_t positions(const Shape& input) {
    int64_t count = 1;
    for (int i = 0; i + 1 < static_cast<int>(input.rank()); ++i)
      count = checked_product(count, input[i]);
    return count;
  }
  DType rounded_to() const { return fields_.dtype.value_or(fields_.param_dtype); }

  ops::Linear convolution(const char* name, int64_t inputs, const WeightScope& weights) const {
    Shape shape;
    for (const int64_t k : fields_.kernel_size) shape.push_back(k);
    shape.push_back(inputs);
    shape.push_back(gates_);
    return weights.child(name).matrix("kernel", shape,
                                      {.input_axes = shape.rank() - 1, .rounded = rounded_to()});
  }
  std::vector<float> bias(const char* name, const WeightScope& weights) const {
    if (!fields_.use_bias) return {};
    std::vector<float> values = weights.child(name).floats("bias", {gates_});
    ops::round_to(rounded_to(), values.data(), gates_);
    return values;
  }

  // The index that is read for an index beyond an axis; -1 stands for zero.
  int64_t inside(int64_t at, int64_t size) const {
    if (at >= 0 && at < size) return at;
    if (fields_.edge == Edge::kZero) return -1;
    if (fields_.edge == Edge::kCircular) return ((at % size) + size) % size;
    const int64_t period = std::max<int64_t>(1, 2 * (size - 1));
    at = ((at % period) + period) % period;
    return std::min(at, period - at) % size;
  }

  // The offset of each tap from the position of a window.
  std::vector<Indices> offsets() const {
    std::vector<Indices> all(static_cast<size_t>(taps()));
    for (size_t tap = 0; tap < all.size(); ++tap) {
      auto rest = static_cast<int64_t>(tap);
      for (size_t k = fields_.kernel_size.size(); k-- > 0; rest /= fields_.kernel_size[k])
        all[tap][k] = rest % fields_.kernel_size[k] - fields_.before[k];
    }
    return all;
  }

  // The position that is read at `at` + `offset`; -1 stands for zero.
  int64_t source(const Shape& input, const Indices& at, const Indices& offset) const {
    int64_t position = 0;
    for (size_t k = 0; k < fields_.kernel_size.size(); ++k) {
      const int64_t size = input[static_cast<int>(k)], index = inside(at[k] + offset[k], size);
      if (index < 0) return -1;
      position = position * size + index;
    }
    return position;
  }
  void advance_position(const Shape& input, Indices& at) const {
    for (size_t k = fields_.kernel_size.size(); k-- > 0;) {
      if (++at[k] < input[static_cast<int>(k)]) return;
      at[k] = 0;
    }
  }

  void convolve(const Run& run, const ops::Linear& linear, const std::vector<float>& bias,
                const float* x, const ChannelSpec& input, float* windows, float* y) const {
    convolve(run, linear, bias, x, input, windows, y, compute(input.dtype));
  }
  void convolve(const Run& run, const ops::Linear& linear, const std::vector<float>& bias,
                const float* x, const ChannelSpec& input, float* windows, float* y,
                DType dtype) const {
    const int64_t count = positions(input.shape), depth = linear.inputs() / taps();
    const bool halves = dtype != DType::kFloat32;
    Indices at{};
    float* to = windows;
    for (int64_t i = 0; i < count; ++i, advance_position(input.shape, at)) {
      for (const Indices& offset : offsets_) {
        const int64_t from = source(input.shape, at, offset);
        if (from < 0) std::fill_n(to, depth, 0.0f);
        if (from >= 0) std::copy_n(x + from * depth, depth, to);
        to += depth;
      }
    }
    ops::round_to(dtype, windows, count * linear.inputs());
    linear.apply(run, windows, linear.inputs(), count,
                 halves || bias.empty() ? nullptr : bias.data(), false, y, gates_);
    ops::round_to(dtype, y, count * gates_);
    if (!halves || bias.empty()) return;
    for (int64_t i = 0; i < count; ++i)
      kernels::binary(Binary::kAdd, y + i * gates_, bias.data(), y + i * gates_, gates_);
    ops::round_to(dtype, y, count * gates_);
  }

  void cell(float* z, float* c, float* h, DType dtype, DType carry) const {
    const int64_t units = fields_.features;
    float *i = z, *g = z + units, *f = z + 2 * units, *o = z + 3 * units;
    const auto combine = [&](Binary op, const float* a, const float* b, float* to, DType rounded) {
      kernels::binary(op, a, b, to, units);
      ops::round_to(rounded, to, units);
    };
    kernels::binary_scalar(Binary::kAdd, f, 1.0f, f, units);
    ops::round_to(dtype, f, units);
    for (float* gate : {i, f, o}) ops::activate(gate, units, {Unary::kSigmoid}, dtype);
    ops::activate(g, units, {Unary::kTanh}, dtype);
    combine(Binary::kMultiply, i, g, g, dtype);
    combine(Binary::kMultiply, f, c, c, carry);
    combine(Binary::kAdd, c, g, c, carry);
    std::copy_n(c, units, h);
    ops::activate(h, units, {Unary::kTanh}, carry);
    combine(Binary::kMultiply, o, h, h, carry);
  }

  ConvCellFields fields_;
  int64_t gates_;
  ops::Linear input_, recurrent_;
  std::vector<float> input_bias_, recurrent_bias_;
  std::vector<Indices> offsets_;  // one for each tap, relative to the position of the window
};

}  // namespace

std::unique_ptr<Cell> make_conv_lstm_cell(Config& config, const WeightScope& weights) {
  if (config.type() != "ConvLSTMCell") return nullptr;
  return std::make_unique<ConvLstmCell>(ConvCellFields(config), weights);
}

}  // namespace sl
