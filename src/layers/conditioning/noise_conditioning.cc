// NoiseConditioning: combines x with noise, which may be projected first. At inference the noise is
// zero (reference: tensorflow conditioning.NoiseConditioning).
#include <algorithm>
#include <cstring>

#include "layers/conditioning/mixing.h"
#include "layers/shape/shape_field.h"

namespace sl {
namespace {

class NoiseConditioning final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : mixing(config, {"add", "concat", "affine"}),
          noise(
              to_shape(config, "noise_channel_shape", config.integers("noise_channel_shape"), 0)) {
      config.ignore({"noise_sampler"});
    }
    Mixing::Fields mixing;
    Shape noise;
  };

  NoiseConditioning(Fields fields, const Init& init)
      : noise_(fields.noise), mixing_(std::move(fields.mixing), init.weights) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return mixing_.output_spec(input, {input.dtype, noise_});
  }
  // The noise has the mask of x, so it needs as many steps and cannot be a single one.
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence noise = run.scratch_sequence({x.dtype, noise_}, x.batch, x.time);
    if (noise.bytes() > 0) std::memset(noise.values, 0, noise.bytes());
    std::copy_n(x.mask, x.steps(), noise.mask);
    return mixing_.combine(run, x, mixing_.project(run, x.spec(), noise));
  }

  Shape noise_;
  Mixing mixing_;
};

SL_REGISTER_LAYER(NoiseConditioning);

}  // namespace
}  // namespace sl
