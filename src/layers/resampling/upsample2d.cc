// Upsample2D: y[t, i] = x[t / rate[0], i / rate[1]], where i is the first channel axis (reference:
// simple.Upsample2D).
#include "layers/builder.h"
#include "ops/rearrange.h"

namespace sl {
namespace {

class Upsample2D final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) {
      const auto rates = config.integers_of("rate", 2, 1);
      time_rate = rates[0];
      space_rate = rates[1];
    }
    int64_t time_rate;
    int64_t space_rate;
  };

  Upsample2D(Fields fields, const Init&) : fields_(fields) {}

  Ratio output_ratio() const override { return Ratio(fields_.time_rate); }
  ReceptiveFields receptive_field_per_step() const override {
    return repeated(StepRange{0, 0}, fields_.time_rate);
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape.rank() != 2) {
      fail(Code::kShape, "expected channels [space, channels], got {}", to_string(input));
    }
    return {input.dtype, output_shape(input.shape)};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    ops::StridedView view;
    view.push_back(x.channels[0], x.channels[1]);
    view.push_back(fields_.space_rate, 0);
    view.push_back(x.channels[1], 1);
    return ops::repeat_steps(run, x, view, output_shape(x.channels), fields_.time_rate);
  }

  Shape output_shape(const Shape& channels) const {
    return {checked_product(channels[0], fields_.space_rate), channels[1]};
  }

  Fields fields_;
};

SL_REGISTER_LAYER(Upsample2D);

}  // namespace
}  // namespace sl
