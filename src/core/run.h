// One run of a model, layer-wise or one step of a stream: what a layer works with while it runs.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <typeinfo>

#include "core/declaration.h"
#include "core/parallel.h"
#include "core/sequence.h"
#include "core/state.h"
#include "core/workspace.h"

namespace sl {

// Whether elements of the dtype can be read and written as T; std::byte stands for any.
template <typename T>
constexpr bool holds(DType dtype) {
  if constexpr (std::is_same_v<T, std::byte>) return true;
  if constexpr (std::is_same_v<T, uint32_t>) return dtype == DType::kInt32;  // counters that wrap
  switch (dtype) {
#define SL_DTYPE(Name, C_NAME, value, name, Type, ...) \
  case DType::k##Name:                                 \
    return std::is_same_v<T, Type>;
#include "core/dtypes.inc"
  }
  return false;
}

class Run {
 public:
  Run(Mode mode, Workspace& workspace, const Parallel& parallel, Constants constants)
      : mode_(mode), workspace_(workspace), parallel_(parallel), constants_(constants) {}
  // A run of layers within another run.
  Run(Mode mode, Workspace& workspace, const Parallel& parallel, const Run& outer)
      : Run(mode, workspace, parallel, outer.constants_) {
    computes_invalid_steps_ = outer.computes_invalid_steps_;
  }

  Mode mode() const { return mode_; }
  const Parallel& parallel() const { return parallel_; }
  const Constants& constants() const { return constants_; }
  // Whether a layer of the model reads the values of invalid steps. Then layers that could leave
  // them out compute them as those of valid ones.
  bool computes_invalid_steps() const { return computes_invalid_steps_; }
  void compute_invalid_steps(bool computes) { computes_invalid_steps_ = computes; }

  // A new sequence for the layer's output; values and mask are not set.
  Sequence output(const ChannelSpec& spec, int64_t batch, int64_t time) {
    return sequence_on(side_, spec, batch, time);
  }
  // A new sequence with x's batch, time and mask for the layer's output; values are not set.
  Sequence output_like(const Sequence& x, const ChannelSpec& spec) {
    const Sequence y = output(spec, x.batch, x.time);
    std::memcpy(y.mask, x.mask, static_cast<size_t>(x.steps()));
    return y;
  }
  // A sequence or an array that lives until the layer returns.
  Sequence scratch_sequence(const ChannelSpec& spec, int64_t batch, int64_t time) {
    return sequence_on(other(side_), spec, batch, time);
  }
  // Room for the product of the counts.
  template <typename T, typename... Counts>
  T* scratch(int64_t count, Counts... more) {
    return reinterpret_cast<T*>(
        scratch_bytes(checked_bytes(checked_product(count, 1, more...), sizeof(T))));
  }

  // Runs fn with outputs going to `side`; what it leaves there stays until the layer returns.
  template <typename Fn>
  auto on_side(Side side, Fn&& fn) {
    const Side saved = side_;
    Stack& scratch = workspace_.on(other(side));
    const Stack::Mark mark = scratch.mark();
    side_ = side;
    const auto result = fn();
    side_ = saved;
    scratch.release(mark);
    return result;
  }
  // Runs fn, and takes back the scratch that it has taken.
  template <typename Fn>
  void with_scratch(Fn&& fn) {
    Stack& scratch = workspace_.on(other(side_));
    const Stack::Mark mark = scratch.mark();
    fn();
    scratch.release(mark);
  }
  // Where the layer's own output goes. Children whose results are combined run on the other side.
  Side side() const { return side_; }
  Workspace& workspace() { return workspace_; }
  const Workspace& workspace() const { return workspace_; }

  // The items' values of the next state tensor in the order in which the layers declared them,
  // [batch, ...]; `name` is the one it was declared by. Step mode only.
  template <typename T>
  StateItems<T> state(std::string_view name) {
    if (checks_state_) check_state(name, holds<T>(next_spec().dtype));
    const size_t i = next_state_++;
    if (!slots_.map && slots_.first == 0) return StateItems<T>(state_.data + state_.offsets[i]);
    const StateTensor tensor = state_[i];
    if (!slots_.map) return StateItems<T>(tensor.item(slots_.first));
    auto* gathered =
        scratch<std::byte>(slots_.count, static_cast<int64_t>(tensor.spec.item_bytes()));
    return StateItems<T>(tensor, slots_, gathered);
  }
  // The next state tensor with all slots, if it is too large to be gathered: item b at slots()[b].
  template <typename T>
  T* state_of_slots(std::string_view name) {
    if (checks_state_) check_state(name, holds<T>(next_spec().dtype));
    return reinterpret_cast<T*>(state_.data + state_.offsets[next_state_++]);
  }
  StateTensor state_tensor(std::string_view name) {
    if (checks_state_) check_state(name, true);
    return state_[next_state_++];
  }
  const Slots& slots() const { return slots_; }
  // The items of a run are the first of a state until this is called.
  void bind_slots(const Slots& slots) { slots_ = slots; }
  // The next `count` tensors, for a run of its own.
  StateTensors take_states(size_t count) {
    next_state_ += count;
    return state_.slice(next_state_ - count, count);
  }
  // The next object that the layers declared for their steps.
  template <typename T>
  const T& plan() {
    const StepPlan& next = plans_[next_plan_++];
    if (checks_state_) check_plan(*next.type == typeid(T));
    return *static_cast<const T*>(next.object.get());
  }
  std::span<const StepPlan> take_plans(size_t count) {
    next_plan_ += count;
    return plans_.subspan(next_plan_ - count, count);
  }
  // The next auxiliary output, in the order of declaration.
  void emit(const Sequence& sequence);
  // Its place, for what is made only if it is wanted: without values it is not. It may lack a mask,
  // and has no spec.
  Sequence next_emit();
  // Runs fn, whose auxiliary outputs are not declared and go nowhere.
  template <typename Fn>
  Sequence without_emits(Fn&& fn) {
    const std::span<Sequence> saved = emits_;
    emits_ = {};
    const Sequence y = fn();
    emits_ = saved;
    return y;
  }

  // Where state tensors, the layers' objects and wanted emits are: set by whoever starts the run.
  // With checks, state that a layer uses otherwise than it has declared it is an INTERNAL error.
  void bind_state(const StateTensors& state, std::span<const StepPlan> plans, bool checks);
  bool checks_state() const { return checks_state_; }
  // Fails if the layers have not used all of it.
  void check_all_used() const;
  void bind_emits(std::span<Sequence> emits) { emits_ = emits; }
  // Whether it is no step of a real-time stream, so that debug builds can check all that they know.
  bool may_allocate() const { return may_allocate_; }
  void allow_allocation() { may_allocate_ = true; }

 private:
  Sequence sequence_on(Side side, const ChannelSpec& spec, int64_t batch, int64_t time) {
    Stack& stack = workspace_.on(side);
    Sequence out;
    out.dtype = spec.dtype;
    out.channels = spec.shape;
    out.batch = batch;
    out.time = time;
    out.values = stack.allocate(out.bytes());
    out.mask = reinterpret_cast<uint8_t*>(stack.allocate(static_cast<size_t>(out.steps())));
    return out;
  }
  std::byte* scratch_bytes(size_t size) { return workspace_.on(other(side_)).allocate(size); }

  const StateSpec& next_spec() const;
  void check_state(std::string_view name, bool dtype_fits) const;
  void check_plan(bool type_fits) const;

  Mode mode_;
  Workspace& workspace_;
  const Parallel& parallel_;
  Constants constants_;
  Side side_ = Side::kA;
  bool checks_state_ = false;
  StateTensors state_;
  Slots slots_;
  size_t next_state_ = 0;
  std::span<const StepPlan> plans_;
  size_t next_plan_ = 0;
  std::span<Sequence> emits_;
  size_t next_emit_ = 0;
  bool may_allocate_ = false;
  bool computes_invalid_steps_ = false;
};

}  // namespace sl
