#include "core/run.h"

namespace sl {

Sequence Run::next_emit() { return next_emit_ < emits_.size() ? emits_[next_emit_++] : Sequence(); }

void Run::emit(const Sequence& sequence) {
  const Sequence wanted = next_emit();
  if (!wanted.values) return;
  std::memcpy(wanted.values, sequence.values, sequence.bytes());
  if (wanted.mask) std::memcpy(wanted.mask, sequence.mask, static_cast<size_t>(sequence.steps()));
}

}  // namespace sl
