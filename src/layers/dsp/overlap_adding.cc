#include "layers/dsp/overlap_adding.h"

#include "ops/transposed_window.h"

namespace sl {

OverlapAdding::OverlapAdding(Config& config, const char* padding_field,
                             ops::Padding default_padding)
    : length_(config.integer("frame_length", 1)), step_(config.integer("frame_step", 1)) {
  constexpr ops::Padding kModes[] = {ops::Padding::kValid, ops::Padding::kCausal,
                                     ops::Padding::kSemicausalFull};
  padding_ = ops::read_padding_among(config, padding_field, kModes, default_padding);
  constexpr int64_t kMax = int64_t{1} << 24;
  if (length_ < step_) {
    config.error("frame_length", fmt::format("expected at least frame_step = {}", step_));
  }
  if (length_ > kMax) config.error("frame_length", fmt::format("expected at most {}", kMax));
}

int64_t OverlapAdding::output_length(int64_t time) const {
  if (time == 0) return 0;
  const int64_t steps = checked_product(time, step_);
  if (padding_ == ops::Padding::kValid) return checked_sum(steps, overlap());
  // As in the reference, this mode makes step_ - 1 fewer steps.
  if (is_semicausal() && overlap() > 0) return steps - step_ + 1;
  return steps;
}

void OverlapAdding::layer_mask(const uint8_t* mask, int64_t time, uint8_t* out) const {
  if (!is_semicausal() || overlap() == 0) {
    const ops::Padding mode = overlap() == 0 ? ops::Padding::kCausal : padding_;
    ops::TransposedWindow{length_, step_, 1, mode}.layer_mask(mask, time, out);
    return;
  }
  // A step is valid if a valid frame is in reach. As in the reference, the reach is not the set of
  // frames that are added.
  const int64_t count = output_length(time);
  std::fill_n(out, count, 0);
  for (int64_t t = 0; t < time; ++t) {
    const int64_t first = std::max<int64_t>(0, t * step_ - (length_ - 1));
    if (mask[t]) std::fill(out + first, out + std::min(count, t * step_ + 1), 1);
  }
}

void OverlapAdding::declare(Declaration& declaration, const SequenceSpec& input,
                            const ChannelSpec& values) const {
  if (input.mode != Mode::kStep || !supports_step()) return;
  Shape pending{input.batch, length_};
  for (int64_t d : values.shape) pending.push_back(d);
  declaration.state("pending", values.dtype, pending);
  declaration.index("position", {input.batch}, 0, length_ - 1);
}

}  // namespace sl
