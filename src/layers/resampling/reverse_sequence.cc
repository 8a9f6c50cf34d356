// ReverseSequence: reverses the first n steps of each sequence, where n is the number of its valid
// steps, and keeps the mask (reference: tensorflow.simple.ReverseSequence).
#include <algorithm>

#include "layers/builder.h"
#include "layers/identity/no_fields.h"
#include "ops/rearrange.h"

namespace sl {
namespace {

class ReverseSequence final : public PointwiseLayer {
 public:
  using Fields = NoFields;
  ReverseSequence(Fields, const Init&) {}

  bool supports_step() const override { return false; }
  // If a mask has holes, invalid steps are among the reversed ones.
  bool reads_invalid_steps() const override { return true; }
  std::string step_obstacle() const override {
    return "it begins with the last step, which a stream does not know: run it layer-wise";
  }
  ReceptiveFields receptive_field_per_step() const override {
    return {StepRange{-kInfinite, kInfinite}};
  }

 private:
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, x.spec());
    for (int64_t b = 0; b < x.batch; ++b) {
      const auto valid =
          static_cast<int64_t>(std::count(x.mask_at(b, 0), x.mask_at(b, x.time), uint8_t{1}));
      ops::copy_reversed(x.frame(b, 0), x.frame_bytes(), valid, y.frame(b, 0));
      std::memcpy(y.frame(b, valid), x.frame(b, valid),
                  static_cast<size_t>(x.time - valid) * x.frame_bytes());
    }
    return y;
  }
};

SL_REGISTER_LAYER(ReverseSequence);

}  // namespace
}  // namespace sl
