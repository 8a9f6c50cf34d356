#include "layers/pooling/pooling_layer.h"

#include <cstring>

namespace sl {

// In the reference, pooling with "causal_valid" cannot step, although a convolution can.
bool PoolingLayer::supports_step() const {
  return time().supports_step() && time().padding.mode != ops::Padding::kCausalValid;
}

std::string PoolingLayer::step_obstacle() const {
  const char* field = pool_.rank() > 1 ? "time_padding" : "padding";
  if (time().padding.mode != ops::Padding::kCausalValid) return time().step_obstacle(field);
  return fmt::format("{} \"causal_valid\" of a pool does not step: use \"causal\"", field);
}

ChannelSpec PoolingLayer::do_output_spec(const ChannelSpec& input, const Constants&) const {
  return pool_.output_spec(input);
}

RingSpec PoolingLayer::ring_of(const ChannelSpec& input) const {
  RingSpec out;
  out.frame = ops::Pool::frame_spec(input);
  out.history = time().history();
  out.fill = pool_.missing(out.frame.dtype);
  out.mask_fill = time().history_is_valid();
  return out;
}

void PoolingLayer::do_declare(Declaration& declaration, const SequenceSpec& input) const {
  if (!supports_step() || time().history() == 0) return;
  Ring::declare(declaration, ring_of(input.channels), input.batch, input.time);
}

Sequence PoolingLayer::do_layer(Run& run, const Sequence& x) const {
  const Sequence y = run.output(pool_.output_spec(x.spec()), x.batch, time().output_length(x.time));
  for (int64_t b = 0; b < x.batch; ++b) {
    time().layer_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
  }
  run.parallel().count(pool_.flop(y));
  pool_.pool_all(run, x, y);
  return y;
}

Sequence PoolingLayer::do_step(Run& run, const Sequence& x) const {
  const Sequence y = run.output(pool_.output_spec(x.spec()), x.batch, x.time / time().stride);
  run.parallel().count(pool_.flop(y));
  const int64_t history = time().history();
  if (history == 0) {
    for (int64_t b = 0; b < x.batch; ++b) {
      time().step_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
    }
    pool_.pool_all(run, x, y);
    return y;
  }
  Ring ring(run, ring_of(x.spec()));
  for (int64_t b = 0; b < x.batch; ++b) {
    std::memcpy(ring.incoming_mask(b), x.mask_at(b, 0), static_cast<size_t>(x.time));
    pool_.load(x, b, 0, x.time, ring.incoming(b));
  }
  ring.push(x.batch, x.time);
  const int64_t frames = history + x.time;
  auto* scratch = run.scratch<std::byte>(pool_.scratch_bytes(x.spec(), frames, y.time));
  for (int64_t b = 0; b < x.batch; ++b) {
    const uint8_t* mask = ring.newest_mask(b, frames);
    time().step_mask(mask, frames, y.mask_at(b, 0));
    pool_.pool({x.spec(), ring.newest(b, frames), mask, frames, 0}, y, b, 0, y.time, scratch);
  }
  return y;
}

}  // namespace sl
