#include "core/run.h"

#include "core/status.h"

namespace sl {
namespace {

#ifdef NDEBUG
constexpr bool kAlwaysChecks = false;
#else
constexpr bool kAlwaysChecks = true;
#endif

}  // namespace

void Run::bind_state(const StateTensors& state, std::span<const StepPlan> plans, bool checks) {
  state_ = state;
  plans_ = plans;
  next_state_ = next_plan_ = 0;
  checks_state_ = checks || kAlwaysChecks;
}

const StateSpec& Run::next_spec() const {
  if (next_state_ < state_.size()) return state_.specs[next_state_];
  fail(Code::kInternal, "a step uses more than the {} tensors of state that its layers declare",
       state_.size());
}

void Run::check_state(std::string_view name, bool dtype_fits) const {
  const StateSpec& spec = next_spec();
  if (spec.own_name() == name && dtype_fits) return;
  fail(Code::kInternal, "a step uses the state \"{}\": the next one declared is \"{}\", {}{}", name,
       spec.name, to_string(ChannelSpec{spec.dtype, spec.shape}),
       dtype_fits ? "" : ", which has another dtype");
}

void Run::check_plan(bool type_fits) const {
  if (!type_fits) fail(Code::kInternal, "a step uses an object that another layer has declared");
}

void Run::check_all_used() const {
  if (next_state_ == state_.size() && next_plan_ == plans_.size()) return;
  fail(Code::kInternal, "a step uses {} tensors of state and {} objects: its layers declare {}, {}",
       next_state_, next_plan_, state_.size(), plans_.size());
}

Sequence Run::next_emit() { return next_emit_ < emits_.size() ? emits_[next_emit_++] : Sequence(); }

void Run::emit(const Sequence& sequence) {
  const Sequence wanted = next_emit();
  if (!wanted.values) return;
  std::memcpy(wanted.values, sequence.values, sequence.bytes());
  if (wanted.mask) std::memcpy(wanted.mask, sequence.mask, static_cast<size_t>(sequence.steps()));
}

}  // namespace sl
