#include "layers/dsp/overlap_adding.h"

namespace sl {

OverlapAdding::OverlapAdding(Config& config, const char* padding_field, ops::Padding otherwise)
    : length_(config.integer("frame_length", 1)), step_(config.integer("frame_step", 1)) {
  constexpr ops::Padding kModes[] = {ops::Padding::kValid, ops::Padding::kCausal,
                                     ops::Padding::kSemicausalFull};
  const auto fallback = static_cast<size_t>(std::ranges::find(kModes, otherwise) - kModes);
  padding_ = kModes[config.choice(padding_field, {"valid", "causal", "semicausal_full"}, fallback)];
  constexpr int64_t kMost = int64_t{1} << 24;
  if (length_ < step_) {
    config.error("frame_length", fmt::format("expected at least frame_step = {}", step_));
  }
  if (length_ > kMost) config.error("frame_length", fmt::format("expected at most {}", kMost));
}

int64_t OverlapAdding::output_length(int64_t time) const {
  if (time == 0) return 0;
  if (padding_ == ops::Padding::kValid) return time * step_ + overlap();
  // As the reference has it.
  if (is_semicausal() && overlap() > 0) return (time - 1) * step_ + 1;
  return time * step_;
}

void OverlapAdding::layer_mask(const uint8_t* mask, int64_t time, uint8_t* out) const {
  const int64_t count = output_length(time);
  if (padding_ == ops::Padding::kCausal || overlap() == 0) {
    for (int64_t i = 0; i < count; ++i) out[i] = mask[i / step_];
    return;
  }
  // Valid if no invalid frame is in reach, or (any) if a valid one is. The reach of semicausal_full
  // is that of the reference, not what is added.
  const bool any = is_semicausal();
  std::fill_n(out, count, any ? 0 : 1);
  for (int64_t t = 0; t < time; ++t) {
    if ((mask[t] != 0) != any) continue;
    const int64_t first = std::max<int64_t>(0, any ? t * step_ - (length_ - 1) : t * step_);
    const int64_t end = std::min(count, any ? t * step_ + 1 : t * step_ + length_);
    std::fill(out + first, out + std::max(first, end), any ? 1 : 0);
  }
}

void OverlapAdding::declare(Declaration& declaration, const SequenceSpec& input,
                            const ChannelSpec& values) const {
  if (input.mode != Mode::kStep || !supports_step()) return;
  Shape pending{input.batch, length_};
  for (int64_t d : values.shape) pending.push_back(d);
  declaration.state("pending", values.dtype, pending);
  declaration.state("position", DType::kInt32, {});
}

}  // namespace sl
