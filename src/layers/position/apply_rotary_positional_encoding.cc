// ApplyRotaryPositionalEncoding: takes the two halves of a channel axis as coordinates of points
// and turns each by an angle proportional to the position of the step (Su et al. 2021, RoFormer;
// reference: position.ApplyRotaryPositionalEncoding).
#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/rotation.h"
#include "layers/builder.h"
#include "layers/position/step_counter.h"
#include "layers/shape/channel_axes.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

class ApplyRotaryPositionalEncoding final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : max_wavelength(config.number("max_wavelength")),
          axis(config.integer("axis", -Shape::kMaxRank, -1)),
          valid_only(config.boolean("only_advance_position_for_valid_timesteps", true)) {
      const auto rounded = static_cast<float>(max_wavelength);
      if (!(rounded > 0) || std::isinf(rounded)) {
        config.error("max_wavelength", "expected a finite float32 number above 0");
      }
      const std::vector<int64_t> axes = {axis};
      if (names_batch_or_time(axes)) {
        config.error("axis", "expected a channel axis: 0 and 1 are batch and time");
      }
      config.note("positions_name", "string or null", "null");
      if (config.raw("positions_name")) positions_name = config.string("positions_name");
      if (!positions_name.empty() && valid_only) {
        config.error(
            "positions_name",
            "expected \"only_advance_position_for_valid_timesteps\" to be false beside it");
      }
      // The field has no effect: the wavelengths are float32, and so angles are too.
      config.boolean("positions_in_at_least_fp32", true);
    }
    double max_wavelength;
    int64_t axis;
    bool valid_only;
    std::string positions_name;
  };

  ApplyRotaryPositionalEncoding(Fields fields, const Init&)
      : fields_(std::move(fields)), counter_(fields_.valid_only) {}

  std::vector<ConstantSpec> constants() const override {
    if (fields_.positions_name.empty()) return {};
    ConstantSpec positions;
    positions.name = fields_.positions_name;
    positions.streamed = true;
    positions.broadcasts = true;
    return {positions};
  }
  ReceptiveFields receptive_field_per_step() const override { return counter_.receptive_field(); }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override;
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (fields_.positions_name.empty()) counter_.declare(declaration, input);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override;
  Sequence do_step(Run& run, const Sequence& x) const override { return do_layer(run, x); }

  StepDifference step_difference(const EarlySteps& before) const override {
    const StepDifference other = Layer::step_difference(before);
    if (!fields_.positions_name.empty()) return other;
    StepDifference out = counter_.step_difference(before, other);
    // The axes of attention are [batch, time, heads, units]. Only if the units are turned do
    // products depend on distances alone.
    if (!counter_.valid_only() && (fields_.axis == -1 || fields_.axis == 3))
      out.turns = fields_.max_wavelength;
    return out;
  }
  // The layout of the points of a step: `count` runs of `half` first coordinates, each followed by
  // its second coordinates.
  struct Points {
    int64_t count;
    int64_t half;
  };

  int axis(const Shape& channels) const { return channel_axis(fields_.axis, channels); }
  Points points_of(const Shape& channels) const;
  void check_positions(const Constant& constant) const;
  Positions given_positions(Run& run, const Constant& constant, const Sequence& x) const;
  const float* frequencies(Run& run, const Shape& channels) const;

  Fields fields_;
  StepCounter counter_;
};

// The shape of the positions: [batch, time], [time] or a scalar, where each size is that of x or 1.
Shape shape_of(const Constant& constant) {
  if (constant.is_array) return constant.shape;
  Shape out = constant.sequence.channels;
  out.insert(0, constant.sequence.time);
  out.insert(0, constant.sequence.batch);
  return out;
}

void ApplyRotaryPositionalEncoding::check_positions(const Constant& constant) const {
  const Shape shape = shape_of(constant);
  const DType dtype = constant.sequence.dtype;
  if (shape.rank() > 2 || dtype == DType::kComplex64 || dtype == DType::kBool) {
    fail(Code::kShape, "the positions \"{}\" are {}{}: expected numbers of shape [batch, time]",
         fields_.positions_name, name_of(dtype), to_string(shape));
  }
}

ChannelSpec ApplyRotaryPositionalEncoding::do_output_spec(const ChannelSpec& input,
                                                          const Constants& constants) const {
  if (!is_float(input.dtype)) {
    fail(Code::kShape, "expected inputs of a float dtype, got {}", name_of(input.dtype));
  }
  const int64_t size = input.shape[axis(input.shape)];
  if (size % 2 != 0) {
    fail(Code::kShape, "expected an even size of axis {}, got {} of channels {}", fields_.axis,
         size, to_string(input.shape));
  }
  if (fields_.positions_name.empty()) return input;
  check_positions(*constants.find(fields_.positions_name));
  return input;
}

ApplyRotaryPositionalEncoding::Points ApplyRotaryPositionalEncoding::points_of(
    const Shape& channels) const {
  const int at = axis(channels);
  const int64_t size = channels.slice(at, channels.rank()).size();
  return {channels.slice(0, at).size(), size / 2};
}

Positions ApplyRotaryPositionalEncoding::given_positions(Run& run, const Constant& constant,
                                                         const Sequence& x) const {
  const Shape shape = shape_of(constant);
  const int64_t times = shape.empty() ? 1 : shape.back();
  const int64_t items = shape.rank() < 2 ? 1 : shape[0];
  if (run.mode() == Mode::kLayer &&
      ((times != 1 && times != x.time) || (items != 1 && items != x.batch))) {
    fail(Code::kShape, "the positions \"{}\" are {}: expected [{}, {}]", fields_.positions_name,
         to_string(shape), x.batch, x.time);
  }
  const int64_t size = shape.size();
  auto* given = run.scratch<float>(size);
  ops::convert(constant.sequence.values, constant.sequence.dtype, given, DType::kFloat32, size);
  auto* out = run.scratch<float>(x.steps());
  for (int64_t b = 0; b < x.batch; ++b) {
    for (int64_t t = 0; t < x.time; ++t) {
      const int64_t i = std::min(b, items - 1) * times + std::min(t, times - 1);
      out[b * x.time + t] = size == 0 ? 0 : given[i];
    }
  }
  return {out, x.time, x.batch, x.batch};
}

// The frequency of each point of a run: max_wavelength^-(2 i / size). Exponent, power and
// reciprocal are rounded as XLA rounds them, because their errors grow with the position.
const float* ApplyRotaryPositionalEncoding::frequencies(Run& run, const Shape& channels) const {
  const int at = axis(channels);
  const int64_t size = channels[at], inner = channels.slice(at + 1, channels.rank()).size();
  auto* out = run.scratch<float>(size / 2, inner);
  const double log = std::log(static_cast<double>(static_cast<float>(fields_.max_wavelength)));
  const double ratio = std::exp(log * 2 / static_cast<double>(size));
  const float reciprocal = 1.0f / static_cast<float>(size);
  double power = 1;
  for (int64_t i = 0; i < size / 2; ++i, power *= ratio) {
    const double exponent = static_cast<float>(2 * i) * reciprocal;
    const double error = exponent - 2 * static_cast<double>(i) / static_cast<double>(size);
    const auto wavelength = static_cast<float>(power * (1 + error * log));
    std::fill_n(out + i * inner, inner, 1.0f / wavelength);
  }
  return out;
}

constexpr int64_t kAngles = 256;

// Turns `n` points whose coordinates are at `a` and `a + distance` in x, and writes them to the
// same position in y.
void turn(const float* sine, const float* cosine, const Sequence& x, const Sequence& y, int64_t a,
          int64_t distance, int64_t n) {
  if (x.dtype == DType::kFloat32) {
    const float* from = x.floats() + a;
    float* to = y.floats() + a;
    kernels::rotate(from, from + distance, sine, cosine, to, to + distance, n);
    return;
  }
  float first[kAngles], second[kAngles];
  const size_t at = static_cast<size_t>(a) * size_of(x.dtype);
  const size_t other = static_cast<size_t>(a + distance) * size_of(x.dtype);
  ops::convert(x.values + at, x.dtype, first, DType::kFloat32, n);
  ops::convert(x.values + other, x.dtype, second, DType::kFloat32, n);
  kernels::rotate(first, second, sine, cosine, first, second, n);
  ops::convert(first, DType::kFloat32, y.values + at, y.dtype, n);
  ops::convert(second, DType::kFloat32, y.values + other, y.dtype, n);
}

Sequence ApplyRotaryPositionalEncoding::do_layer(Run& run, const Sequence& x) const {
  const Sequence y = run.output_like(x, x.spec());
  const std::string& given = fields_.positions_name;
  const Positions positions = given.empty() ? counter_.count(run, x)
                                            : given_positions(run, *run.constants().find(given), x);
  const Points points = points_of(x.channels);
  const float* frequencies = this->frequencies(run, x.channels);
  ops::for_steps(run, x.steps(), x.frame_size(), [&](int64_t begin, int64_t end) {
    float sine[kAngles], cosine[kAngles];
    for (int64_t step = begin; step < end; ++step) {
      const float position = positions.at(step / x.time, step % x.time);
      for (int64_t i = 0; i < points.half; i += kAngles) {
        const int64_t n = std::min(kAngles, points.half - i);
        kernels::binary_scalar(kernels::Binary::kMultiply, frequencies + i, position, sine, n);
        kernels::sin_cos(sine, sine, cosine, n);
        for (int64_t p = 0; p < points.count; ++p) {
          const int64_t at = step * x.frame_size() + p * 2 * points.half + i;
          turn(sine, cosine, x, y, at, points.half, n);
        }
      }
    }
  });
  return y;
}

SL_REGISTER_LAYER(ApplyRotaryPositionalEncoding);

}  // namespace
}  // namespace sl
