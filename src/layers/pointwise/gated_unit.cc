// GatedUnit: y = feature_activation(a) gate_activation(b), where a and b are the halves of the last
// channel axis (reference: simple.GatedUnit).
#include "layers/pointwise/gated_unit.h"

#include "ops/broadcast.h"
#include "ops/rows.h"

namespace sl {

using kernels::Unary;

namespace {

// Whether the function maps integers to integers.
bool keeps_integers(const Activation& f) {
  return f.is_elementwise() &&
         (f.op == Unary::kIdentity || f.op == Unary::kAbs || f.op == Unary::kRelu ||
          f.op == Unary::kSquare || f.op == Unary::kHardTanh || f.op == Unary::kSign ||
          f.op == Unary::kFloor || f.op == Unary::kCeil || f.op == Unary::kRound);
}

bool takes(const Activation& f, DType dtype) {
  if (dtype == DType::kComplex64) return ops::takes_complex(f);
  return is_float(dtype) || !f.is_elementwise() || ops::unary_dtype(f.op, dtype).has_value();
}

}  // namespace

// Functions other than the identity turn integers into floats. Functions that would keep integers
// are not supported for them.
std::optional<DType> GatedUnitLayer::output_dtype(DType input) const {
  if (feature_.is_identity() && gate_.is_identity()) return input;
  if (!takes(feature_, input) || !takes(gate_, input)) return std::nullopt;
  if (is_inexact(input)) return input;
  if (keeps_integers(feature_) && keeps_integers(gate_)) return std::nullopt;
  return DType::kFloat32;
}

ChannelSpec GatedUnitLayer::do_output_spec(const ChannelSpec& input, const Constants&) const {
  const auto dtype = output_dtype(input.dtype);
  if (!dtype) {
    fail(Code::kShape, "its activations do not take {}", name_of(input.dtype));
  }
  if (input.shape.empty() || input.shape.back() % 2 != 0) {
    fail(Code::kShape, "expected an even last channel dimension, got {}", to_string(input));
  }
  ChannelSpec out{*dtype, input.shape};
  out.shape.back() /= 2;
  for (const Activation* f : {&feature_, &gate_}) keeps_to_rows(*f, out.shape.rank());
  return out;
}

void GatedUnitLayer::row(const std::byte* x, DType dtype, std::byte* y, int64_t count) const {
  const size_t element = size_of(dtype);
  const std::byte* gates = x + static_cast<size_t>(count) * element;
  if (!is_float(dtype)) {
    ops::arithmetic(ops::Arithmetic::kMultiply, dtype, x, gates, y, count);
    return;
  }
  constexpr int64_t kChunk = 1024;  // at most the chunk size of map_as_floats
  float gate[kChunk];
  ops::map_as_floats(x, dtype, y, dtype, count, [&](float* feature, int64_t begin, int64_t n) {
    ops::convert(gates + static_cast<size_t>(begin) * element, dtype, gate, DType::kFloat32, n);
    ops::activate(feature, n, feature_, dtype);
    ops::activate(gate, n, gate_, dtype);
    kernels::binary(kernels::Binary::kMultiply, feature, gate, feature, n);
  });
}

// Computes a row in one piece: complex numbers, numbers that become floats, and activations that
// need the whole row.
void GatedUnitLayer::whole_row(const std::byte* x, DType dtype, std::byte* y, DType y_dtype,
                               int64_t count, float* scratch) const {
  const std::byte* gates = x + static_cast<size_t>(count) * size_of(dtype);
  if (dtype == DType::kComplex64) {
    auto* feature = reinterpret_cast<complex64*>(y);
    auto* gate = reinterpret_cast<complex64*>(scratch);
    ops::convert(x, dtype, feature, dtype, count);
    ops::convert(gates, dtype, gate, dtype, count);
    ops::activate(feature, count, feature_);
    ops::activate(gate, count, gate_);
    for (int64_t i = 0; i < count; ++i) feature[i] *= gate[i];
    return;
  }
  float* feature = scratch + count;
  ops::convert(x, dtype, feature, DType::kFloat32, count);
  ops::convert(gates, dtype, scratch, DType::kFloat32, count);
  ops::activate(feature, count, feature_, y_dtype);
  ops::activate(scratch, count, gate_, y_dtype);
  kernels::binary(kernels::Binary::kMultiply, feature, scratch, feature, count);
  ops::convert(feature, DType::kFloat32, y, y_dtype, count);
}

// Computes whole sequences: activations over other axes than the last.
void GatedUnitLayer::across(Run& run, const Sequence& x, const Sequence& y) const {
  const Sequence gate = run.scratch_sequence(y.spec(), y.batch, y.time);
  const int64_t length = y.channels.back(), rows = length == 0 ? 0 : y.size() / length;
  const size_t from = static_cast<size_t>(length) * size_of(x.dtype);
  const size_t to = static_cast<size_t>(length) * size_of(y.dtype);
  for (int64_t i = 0; i < rows; ++i) {
    const auto at = static_cast<size_t>(i);
    ops::convert(x.values + 2 * at * from, x.dtype, y.values + at * to, y.dtype, length);
    ops::convert(x.values + (2 * at + 1) * from, x.dtype, gate.values + at * to, y.dtype, length);
  }
  ops::activate_along(run, y, feature_);
  ops::activate_along(run, gate, gate_);
  ops::arithmetic(ops::Arithmetic::kMultiply, y.dtype, y.values, gate.values, y.values, y.size());
}

Sequence GatedUnitLayer::do_layer(Run& run, const Sequence& x) const {
  Shape channels = x.channels;
  channels.back() /= 2;
  const Sequence y = run.output_like(x, {output_dtype(x.dtype).value_or(x.dtype), channels});
  const int rank = channels.rank();
  if (!keeps_to_rows(feature_, rank) || !keeps_to_rows(gate_, rank)) {
    across(run, x, y);
    return y;
  }
  const int64_t length = channels.back();
  const int64_t rows = length == 0 ? 0 : y.size() / length;
  const auto in = [&](int64_t i) {
    return x.values + static_cast<size_t>(2 * i * length) * size_of(x.dtype);
  };
  const auto out = [&](int64_t i) {
    return y.values + static_cast<size_t>(i * length) * size_of(y.dtype);
  };
  const bool elementwise = feature_.is_elementwise() && gate_.is_elementwise();
  if (x.dtype == DType::kComplex64 || x.dtype != y.dtype || !elementwise) {
    auto* scratch = run.scratch<float>(2, length);
    for (int64_t i = 0; i < rows; ++i) {
      whole_row(in(i), x.dtype, out(i), y.dtype, length, scratch);
    }
    return y;
  }
  ops::for_steps(run, rows, length, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) row(in(i), x.dtype, out(i), length);
  });
  return y;
}

namespace {

class GatedUnit final : public GatedUnitLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : feature(read(config, "feature_activation")), gate(read(config, "gate_activation")) {}

    // Reads a required field; null stands for no function.
    static Activation read(Config& config, const char* field) {
      config.note(field, "function or null", "");
      if (!config.has(field)) config.error(field, "the required field is missing");
      return read_activation(config, field).value_or(Activation{});
    }
    Activation feature;
    Activation gate;
  };

  GatedUnit(Fields fields, const Init&) : GatedUnitLayer(fields.feature, fields.gate) {}
};

SL_REGISTER_LAYER(GatedUnit);

}  // namespace
}  // namespace sl
