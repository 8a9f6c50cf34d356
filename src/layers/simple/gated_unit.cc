// GatedUnit: y = feature_activation(a) gate_activation(b), where a and b are the halves of the last
// channel axis (reference: simple.GatedUnit).
#include "layers/simple/gated_unit.h"

#include "ops/broadcast.h"
#include "ops/elementwise.h"

namespace sl {

using kernels::Unary;

ChannelSpec GatedUnitLayer::output_spec(const ChannelSpec& input, const Constants&) const {
  const bool bilinear = feature_.op == Unary::kIdentity && gate_.op == Unary::kIdentity;
  if (!bilinear && !is_float(input.dtype)) {
    fail(Code::kShape, "{} \"{}\": expected a float dtype, got {}", type(), name(),
         name_of(input.dtype));
  }
  if (input.shape.empty() || input.shape.back() % 2 != 0) {
    fail(Code::kShape, "{} \"{}\": expected an even last channel dimension, got {}", type(), name(),
         to_string(input));
  }
  ChannelSpec out = input;
  out.shape.back() /= 2;
  return out;
}

void GatedUnitLayer::row(const std::byte* x, DType dtype, std::byte* y, int64_t count) const {
  const size_t element = size_of(dtype);
  const std::byte* gates = x + static_cast<size_t>(count) * element;
  if (!is_float(dtype)) {
    ops::arithmetic(ops::Arithmetic::kMultiply, dtype, x, gates, y, count);
    return;
  }
  constexpr int64_t kChunk = 1024;  // no longer than those of map_as_floats
  float gate[kChunk];
  ops::map_as_floats(x, dtype, y, dtype, count, [&](float* feature, int64_t begin, int64_t n) {
    ops::convert(gates + static_cast<size_t>(begin) * element, dtype, gate, DType::kFloat32, n);
    ops::activate(feature, n, feature_, dtype);
    ops::activate(gate, n, gate_, dtype);
    kernels::binary(kernels::Binary::kMultiply, feature, gate, feature, n);
  });
}

Sequence GatedUnitLayer::layer(Run& run, const Sequence& x) const {
  Shape channels = x.channels;
  channels.back() /= 2;
  const Sequence y = run.output_like(x, {x.dtype, channels});
  const int64_t length = channels.back();
  const size_t bytes = static_cast<size_t>(length) * size_of(x.dtype);
  const int64_t rows = length == 0 ? 0 : y.size() / length;
  ops::for_steps(run, rows, length, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      row(x.values + i * 2 * bytes, x.dtype, y.values + i * bytes, length);
    }
  });
  return y;
}

namespace {

class GatedUnit final : public GatedUnitLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : feature(read(config, "feature_activation")), gate(read(config, "gate_activation")) {}

    // Null is no function, but it has to be said.
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
