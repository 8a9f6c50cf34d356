// Power: y = x^power (reference: simple.Power).
#include <nlohmann/json.hpp>

#include "layers/pointwise/pointwise_function.h"

namespace sl {
namespace {

class Power final : public PointwiseFunction {
 public:
  struct Fields {
    explicit Fields(Config& config) : power(static_cast<float>(config.number("power", 1))) {
      const Json* json = config.raw("power");
      is_integer = json && json->is_number_integer();
    }
    float power;
    bool is_integer;
  };

  Power(Fields fields, const Init&)
      : PointwiseFunction({kernels::Unary::kPower, fields.power}), fields_(fields) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    if (!stays_integer(input.dtype)) return PointwiseFunction::do_output_spec(input, constants);
    if (fields_.power < 0) {
      fail(Code::kShape, "integers cannot be raised to the power {}", fields_.power);
    }
    return {input.dtype == DType::kBool ? DType::kInt32 : input.dtype, input.shape};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    if (!stays_integer(x.dtype)) return PointwiseFunction::do_layer(run, x);
    const DType dtype = x.dtype == DType::kBool ? DType::kInt32 : x.dtype;
    const Sequence y = run.output_like(x, {dtype, x.channels});
    ops::convert(x.values, x.dtype, y.values, dtype, x.size());
    ops::with_element(dtype, [&](auto element) {
      using T = typename decltype(element)::Type;
      if constexpr (std::is_integral_v<T>) raise(y.as<T>(), y.size());
    });
    return y;
  }

  // As in JAX, integers stay integers if the power is written as an integer.
  bool stays_integer(DType dtype) const { return fields_.is_integer && !is_inexact(dtype); }

  template <typename T>
  void raise(T* values, int64_t count) const {
    for (int64_t i = 0; i < count; ++i) {
      auto base = static_cast<uint32_t>(values[i]);
      uint32_t result = 1;  // unsigned, so that overflow wraps
      for (auto n = static_cast<uint64_t>(fields_.power); n != 0; n >>= 1) {
        if (n & 1) result *= base;
        base *= base;
      }
      values[i] = static_cast<T>(result);
    }
  }

  Fields fields_;
};

SL_REGISTER_LAYER(Power);

}  // namespace
}  // namespace sl
