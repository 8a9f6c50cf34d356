// EinsumDense: y = activation(einsum(equation, x, W) + b), with an equation such as
// "...abc,bd->...bd" (reference: dense.EinsumDense).
#include <algorithm>
#include <nlohmann/json.hpp>

#include "layers/builder.h"
#include "layers/dense/einsum_layer.h"
#include "layers/dense/fields.h"

namespace sl {
namespace {

// Splits an equation "...X,Y->...Z" into its parts.
ops::EinsumSpec parse_equation(const Config& config, const std::string& equation) {
  const size_t comma = equation.find(','), arrow = equation.find("->");
  const auto letters = [](std::string_view part) {
    return std::ranges::all_of(part, [](unsigned char c) { return std::isalpha(c) != 0; });
  };
  if (equation.starts_with("...") && comma != std::string::npos && arrow != std::string::npos &&
      comma < arrow && equation.compare(arrow + 2, 3, "...") == 0) {
    ops::EinsumSpec spec{equation.substr(3, comma - 3),
                         equation.substr(comma + 1, arrow - comma - 1), equation.substr(arrow + 5)};
    if (letters(spec.input) && letters(spec.kernel) && letters(spec.output)) return spec;
  }
  config.error(
      "equation",
      fmt::format("expected \"...X,Y->...Z\" with letters for axes, got \"{}\"", equation));
}

class EinsumDense final : public EinsumLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : spec(parse_equation(config, config.string("equation"))),
          output_shape(read_output_shape(config)),
          bias_axes(read_bias_axes(config)),
          dense(config) {
      try {
        ops::check(spec);
      } catch (const Error& error) {
        config.error("equation", error.what());
      }
      for (const char axis : bias_axes) {
        if (spec.output.find(axis) == std::string::npos) {
          config.error("bias_axes",
                       fmt::format("axis '{}' is not in the output \"{}\"", axis, spec.output));
        }
      }
    }

    // Reads the sizes; null stands for the size that the input implies, kAnySize.
    std::vector<int64_t> read_output_shape(Config& config) {
      config.note("output_shape", "list of integers and nulls", "");
      const Json* value = config.raw("output_shape");
      if (!value || !value->is_array())
        config.error("output_shape", "expected a list of integers and nulls");
      if (value->size() != spec.output.size()) {
        config.error("output_shape",
                     fmt::format("expected {} sizes, one for each of \"{}\", got {}",
                                 spec.output.size(), spec.output, value->size()));
      }
      std::vector<int64_t> out;
      for (size_t i = 0; i < value->size(); ++i) {
        const Json& dim = (*value)[i];
        if (!dim.is_null() && (!dim.is_number_integer() || dim.get<int64_t>() < 1)) {
          config.error(fmt::format("output_shape[{}]", i),
                       fmt::format("expected a positive integer or null, got {}", excerpt(dim)));
        }
        out.push_back(dim.is_null() ? kAnySize : dim.get<int64_t>());
      }
      return out;
    }

    ops::EinsumSpec spec;
    std::vector<int64_t> output_shape;
    // Null stands for none.
    static std::string read_bias_axes(Config& config) {
      config.note("bias_axes", "string or null", R"("")");
      const Json* value = config.raw("bias_axes");
      return value && !value->is_null() ? config.string("bias_axes", "") : "";
    }
    std::string bias_axes;
    DenseFields dense;
  };

  EinsumDense(Fields fields, const Init& init)
      : EinsumLayer(make(fields, init.weights)),
        spec_(fields.spec),
        output_shape_(fields.output_shape) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    const ChannelSpec out = EinsumLayer::do_output_spec(input, constants);
    for (int i = 0; i < out.shape.rank(); ++i) {
      const int64_t wanted = output_shape_[static_cast<size_t>(i)];
      if (wanted != kAnySize && wanted != out.shape[i]) {
        fail(Code::kShape, "the input makes axis '{}' of size {}, output_shape says {}",
             spec_.output[static_cast<size_t>(i)], out.shape[i], wanted);
      }
    }
    return out;
  }

  static ops::Einsum make(const Fields& fields, const WeightScope& weights) {
    const ops::EinsumSpec& spec = fields.spec;
    Shape expected;
    for (const char axis : spec.kernel) {
      const size_t at = spec.output.find(axis);
      expected.push_back(at == std::string::npos ? kAnySize : fields.output_shape[at]);
    }
    const DType dtype = fields.dense.param_dtype;
    const ops::KernelParts kernel = weights.kernel("kernel", expected, dtype);
    // The shape of the bias begins with its first axis in the output. Later axes of the output that
    // the bias lacks have size 1.
    Shape bias_shape;
    if (!fields.bias_axes.empty()) {
      for (size_t i = spec.output.find_first_of(fields.bias_axes); i < spec.output.size(); ++i) {
        const bool has = fields.bias_axes.find(spec.output[i]) != std::string::npos;
        bias_shape.push_back(has ? fields.output_shape[i] : 1);
      }
    }
    TensorParts bias;
    if (!bias_shape.empty()) bias = weights.parts("bias", bias_shape, dtype);
    return ops::Einsum(spec, kernel, std::move(bias), fields.dense.activation, dtype,
                       fields.dense.compute_dtype);
  }

  ops::EinsumSpec spec_;
  std::vector<int64_t> output_shape_;
};

SL_REGISTER_LAYER(EinsumDense);

}  // namespace
}  // namespace sl
