#include "core/run.h"

namespace sl {
namespace {

Sequence allocate(Stack& stack, const ChannelSpec& spec, int64_t batch, int64_t time) {
  Sequence out;
  out.dtype = spec.dtype;
  out.channels = spec.shape;
  out.batch = batch;
  out.time = time;
  out.values = stack.allocate(out.bytes());
  out.mask = reinterpret_cast<uint8_t*>(stack.allocate(static_cast<size_t>(out.steps())));
  return out;
}

}  // namespace

Sequence Run::output(const ChannelSpec& spec, int64_t batch, int64_t time) {
  return allocate(workspace_.on(side_), spec, batch, time);
}

Sequence Run::output_like(const Sequence& x, const ChannelSpec& spec) {
  const Sequence y = output(spec, x.batch, x.time);
  std::memcpy(y.mask, x.mask, static_cast<size_t>(x.steps()));
  return y;
}

Sequence Run::scratch_sequence(const ChannelSpec& spec, int64_t batch, int64_t time) {
  return allocate(workspace_.on(other(side_)), spec, batch, time);
}

Sequence Run::next_emit() { return next_emit_ < emits_.size() ? emits_[next_emit_++] : Sequence(); }

void Run::emit(const Sequence& sequence) {
  const Sequence wanted = next_emit();
  if (!wanted.values) return;
  std::memcpy(wanted.values, sequence.values, sequence.bytes());
  if (wanted.mask) std::memcpy(wanted.mask, sequence.mask, static_cast<size_t>(sequence.steps()));
}

}  // namespace sl
