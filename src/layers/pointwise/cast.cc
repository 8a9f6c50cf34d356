// Cast: x converted to another dtype (reference: simple.Cast).
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "layers/builder.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

class Cast final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : dtype(read(config)) {}

    // Reads 64-bit dtypes as those of 32 bits, as JAX does when 64-bit types are off.
    static DType read(Config& config) {
      static const std::map<std::string, DType> kWide = {{"float64", DType::kFloat32},
                                                         {"int64", DType::kInt32},
                                                         {"complex128", DType::kComplex64}};
      config.note("dtype", "dtype", "");
      const Json* value = config.raw("dtype");
      if (value && value->is_string()) {
        const auto wide = kWide.find(value->get<std::string>());
        if (wide != kWide.end()) return wide->second;
      }
      return config.dtype("dtype");
    }
    DType dtype;
  };

  Cast(Fields fields, const Init&) : dtype_(fields.dtype) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return {dtype_, input.shape};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    return ops::cast(run, x, dtype_);
  }

  DType dtype_;
};

SL_REGISTER_LAYER(Cast);

}  // namespace
}  // namespace sl
