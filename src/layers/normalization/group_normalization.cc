// GroupNormalization: normalizes each group of channels to mean 0 and variance 1, over all valid
// steps or, if cumulative, over the valid steps up to each step. Then scale and bias (reference:
// normalization.GroupNormalization).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/normalize.h"
#include "layers/builder.h"
#include "layers/normalization/axes.h"
#include "ops/elementwise.h"
#include "ops/normalize.h"

namespace sl {
namespace {

// A running sum in two floats, since a stream may run for days and one float would lose digits.
struct Sum {
  float high;
  float low;

  double add(double value) {
    const double sum = static_cast<double>(high) + low + value;
    high = static_cast<float>(sum);
    low = static_cast<float>(sum - high);
    return sum;
  }
};

class GroupNormalization final : public PointwiseLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : num_groups(config.integer("num_groups", 1)),
          axis(NormAxes::read_one(config)),
          epsilon(config.number("epsilon", 1e-6)),
          cumulative(config.boolean("cumulative", false)),
          use_bias(config.boolean("use_bias", true)),
          use_scale(config.boolean("use_scale", true)),
          guards(config.boolean("guard_against_excess_precision", false)) {
      read_float_dtype(config, "param_dtype");
      config.ignore({"bias_init", "scale_init", "sharding"});
    }
    int64_t num_groups;
    NormAxes axis;
    double epsilon;
    bool cumulative;
    bool use_bias;
    bool use_scale;
    bool guards;
  };

  GroupNormalization(Fields fields, const Init& init) : fields_(std::move(fields)) {
    if (fields_.use_scale) parameters_.scale.emplace(fields_.axis.parameter(init.weights, "scale"));
    if (fields_.use_bias) parameters_.bias.emplace(fields_.axis.parameter(init.weights, "bias"));
  }

  bool supports_step() const override { return fields_.cumulative; }
  std::string step_obstacle() const override {
    return !fields_.cumulative
               ? std::string("it needs statistics of all steps: set \"cumulative\": true")
               : std::string();
  }
  ReceptiveFields receptive_field_per_step() const override {
    return {StepRange{-kInfinite, fields_.cumulative ? 0 : kInfinite}};
  }
  std::optional<ChannelSpec> implied_input() const override {
    const auto& parameter = parameters_.scale ? parameters_.scale : parameters_.bias;
    return parameter ? fields_.axis.implied_input(parameter->shape()) : std::nullopt;
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    check(input);
    return input;
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (input.mode != Mode::kStep || !fields_.cumulative) return;
    const bool empty = input.channels.shape.size() == 0;
    const Shape sums{input.batch, empty ? 0 : fields_.num_groups, 2};
    declaration.state("sum", DType::kFloat32, sums);
    declaration.state("squares", DType::kFloat32, sums);
    declaration.index("count", {input.batch}, 0, std::numeric_limits<int32_t>::max());
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    if (!fields_.cumulative) {
      return ops::normalize_over_time(run, x, x.dtype, groups_of(x.channels), fields_.epsilon,
                                      parameters_, parameter_shape(x.channels));
    }
    if (x.size() == 0) return run.output_like(x, x.spec());
    const int64_t sums = x.batch * fields_.num_groups;
    Totals totals{run.scratch<Sum>(sums), run.scratch<Sum>(sums), run.scratch<int32_t>(x.batch)};
    std::fill_n(totals.sum, sums, Sum{0, 0});
    std::fill_n(totals.squares, sums, Sum{0, 0});
    std::fill_n(totals.count, x.batch, 0);
    return cumulate(run, x, totals);
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    const auto sum = run.state<float>("sum");
    const auto squares = run.state<float>("squares");
    const auto count = run.state<int32_t>("count");
    return cumulate(
        run, x, {reinterpret_cast<Sum*>(sum.get()), reinterpret_cast<Sum*>(squares.get()), count});
  }

  // The statistics of one batch item: sums for each group, and the number of valid steps.
  struct Totals {
    Sum* sum;
    Sum* squares;
    int32_t* count;
  };
  // How a frame divides into runs of elements of one group: `outer` times one run for each group.
  struct Runs {
    int64_t outer;
    int64_t groups;
    int64_t length;

    int64_t count() const { return outer * groups; }
    int64_t group_size() const { return outer * length; }
  };
  // Scratch for each run: its sum, the mean to subtract and the factor.
  struct Scratch {
    float* sums;
    float* means;
    float* factors;
  };
  struct Parameters {
    const float* scale;
    const float* bias;
  };

  void check(const ChannelSpec& input) const {
    if (input.dtype == DType::kComplex64 || (fields_.guards && !is_float(input.dtype))) {
      fail(Code::kShape, "expected floats, got {}", name_of(input.dtype));
    }
    const uint32_t bits = fields_.axis.bits(input.shape);
    const int64_t size = input.shape[fields_.axis.index(input.shape)];
    if (size % fields_.num_groups != 0) {
      fail(Code::kShape, "{} channels cannot be divided into {} equal groups", size,
           fields_.num_groups);
    }
    if (parameters_.scale) {
      NormAxes::check("scale", parameters_.scale->shape(), input.shape, bits);
    }
    if (parameters_.bias) NormAxes::check("bias", parameters_.bias->shape(), input.shape, bits);
    groups_of(input.shape);
  }
  // The channel shape with the axis split into groups and their members.
  ops::ChannelGroups groups_of(const Shape& channels) const {
    const int axis = fields_.axis.index(channels);
    ops::ChannelGroups groups{channels, 1u << axis};
    groups.shape[axis] /= fields_.num_groups;
    groups.shape.insert(axis, fields_.num_groups);
    return groups;
  }
  Shape parameter_shape(const Shape& channels) const {
    Shape shape;
    const int axis = fields_.axis.index(channels);
    for (int i = 0; i < channels.rank(); ++i) shape.push_back(i == axis ? channels[i] : 1);
    return shape;
  }
  Runs runs_of(const Shape& channels) const {
    const int axis = fields_.axis.index(channels);
    const int64_t inner = channels.slice(axis + 1, channels.rank()).size();
    return {channels.slice(0, axis).size(), fields_.num_groups,
            channels[axis] / fields_.num_groups * inner};
  }

  Sequence cumulate(Run& run, const Sequence& x, const Totals& totals) const {
    const Sequence y = run.output_like(x, x.spec());
    if (x.size() == 0) return y;
    const Runs runs = runs_of(x.channels);
    const Shape shape = parameter_shape(x.channels);
    const float* in = ops::as_floats(run, x, DType::kFloat32);
    float* out = x.dtype == DType::kFloat32 ? y.floats() : run.scratch<float>(y.size());
    // The kernels skip a parameter that is null.
    Parameters parameters{};
    if (parameters_.scale) {
      parameters.scale = ops::expand_parameter(run, parameters_.scale, shape, x.channels, 1);
    }
    if (parameters_.bias) {
      parameters.bias = ops::expand_parameter(run, parameters_.bias, shape, x.channels, 0);
    }
    auto* scratch = run.scratch<float>(3, runs.count(), x.batch);
    run.parallel().each(x.batch, [&](int64_t b) {
      float* own = scratch + 3 * runs.count() * b;
      const Scratch s{own, own + runs.count(), own + 2 * runs.count()};
      const Totals item{totals.sum + b * runs.groups, totals.squares + b * runs.groups,
                        totals.count + b};
      for (int64_t t = 0; t < x.time; ++t) {
        const int64_t at = (b * x.time + t) * x.frame_size();
        if (*x.mask_at(b, t)) {
          normalize_frame(runs, in + at, parameters, item, s, out + at);
        } else {
          std::fill_n(out + at, x.frame_size(), 0.0f);
        }
      }
    });
    if (x.dtype != DType::kFloat32) {
      ops::convert(out, DType::kFloat32, y.values, y.dtype, y.size());
    }
    return y;
  }

  // As in the reference, the squared deviation of a step is taken from the mean up to that step and
  // not updated by later means.
  void normalize_frame(const Runs& runs, const float* x, const Parameters& parameters,
                       const Totals& totals, const Scratch& s, float* y) const {
    if (*totals.count < std::numeric_limits<int32_t>::max()) ++*totals.count;
    const double count =
        static_cast<double>(*totals.count) * static_cast<double>(runs.group_size());
    kernels::row_sums(x, runs.count(), runs.length, s.sums);
    for (int64_t g = 0; g < runs.groups; ++g) {
      spread(runs, g, totals.sum[g].add(total(runs, g, s.sums)) / count, s.means);
    }
    kernels::row_deviations(x, s.means, runs.count(), runs.length, s.sums);
    for (int64_t g = 0; g < runs.groups; ++g) {
      const double variance = totals.squares[g].add(total(runs, g, s.sums)) / count;
      spread(runs, g, 1.0 / std::sqrt(variance + fields_.epsilon), s.factors);
    }
    kernels::normalize_rows(x, s.means, s.factors, runs.count(), runs.length, parameters.scale,
                            parameters.bias, y);
  }
  static double total(const Runs& runs, int64_t g, const float* sums) {
    double out = 0;
    for (int64_t i = g; i < runs.count(); i += runs.groups) out += static_cast<double>(sums[i]);
    return out;
  }
  static void spread(const Runs& runs, int64_t g, double value, float* to) {
    for (int64_t i = g; i < runs.count(); i += runs.groups) to[i] = static_cast<float>(value);
  }

  Fields fields_;
  ops::NormParameters parameters_;
};

SL_REGISTER_LAYER(GroupNormalization);

}  // namespace
}  // namespace sl
