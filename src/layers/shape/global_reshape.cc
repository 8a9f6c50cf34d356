// GlobalReshape: reshapes time and channels together. An output step is valid if all input steps
// with elements in it are (reference: simple.GlobalReshape).
#include <cstring>

#include "layers/builder.h"
#include "layers/shape/shape_field.h"

namespace sl {
namespace {

class GlobalReshape final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) {
      const auto sizes = config.integers("output_shape");
      if (sizes.empty()) config.error("output_shape", "expected [time, channels...]");
      channels = to_shape(config, "output_shape", sizes, 1);
      time = channels[0];
      channels.erase(0);
    }
    int64_t time;
    Shape channels;
  };

  GlobalReshape(Fields fields, const Init&) : fields_(fields) {}

  bool supports_step() const override { return false; }
  std::string step_obstacle() const override {
    return "it rearranges all steps at once: run it layer-wise, before or after the stream";
  }
  ReceptiveFields receptive_field_per_step() const override {
    return {StepRange{-kInfinite, kInfinite}};
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return {input.dtype, fields_.channels};
  }
  int64_t do_output_length(int64_t time, const ChannelSpec& input,
                           const Constants&) const override {
    if (checked_product(time, input.shape.size()) !=
        checked_product(fields_.time, fields_.channels.size())) {
      fail(Code::kShape,
           "an input of {} steps of {} does not have the {} elements of {} steps of {}", time,
           to_string(input.shape), fields_.time * fields_.channels.size(), fields_.time,
           to_string(fields_.channels));
    }
    return fields_.time;
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output({x.dtype, fields_.channels}, x.batch, fields_.time);
    std::memcpy(y.values, x.values, x.bytes());
    const int64_t from = x.frame_size(), to = y.frame_size();
    for (int64_t b = 0; b < y.batch; ++b) {
      for (int64_t t = 0; t < y.time; ++t) {
        const int64_t first = t * to / from, last = ((t + 1) * to - 1) / from;
        const auto count = static_cast<size_t>(last - first + 1);
        *y.mask_at(b, t) = std::memchr(x.mask_at(b, first), 0, count) == nullptr ? 1 : 0;
      }
    }
    return y;
  }

  Fields fields_;
};

SL_REGISTER_LAYER(GlobalReshape);

}  // namespace
}  // namespace sl
