// Requirements of a run, found out before it: the state of a stream and the auxiliary outputs
// (emits). Layers declare theirs in the order in which they use them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

#include "core/sequence.h"
#include "core/state.h"

namespace sl {

// An auxiliary output.
struct EmitSpec {
  std::string path;
  SequenceSpec sequence;
};

// An immutable object that a layer makes when it declares its state and uses in every step.
struct StepPlan {
  std::shared_ptr<const void> object;
  const std::type_info* type = nullptr;
};

// Collects what the layers of a tree declare, each under its own path, in the order in which they
// run.
class Declaration {
 public:
  explicit Declaration(Constants constants) : constants_(constants) {}

  const Constants& constants() const { return constants_; }
  // A tensor of a stream's state, of which every element is `fill` at the start. The first axis of
  // its shape is the batch.
  void state(std::string_view name, DType dtype, const Shape& shape, double fill = 0);
  // A tensor with the name and properties of one that another declaration has.
  void state(StateSpec spec);
  // int32 values that steps rely on to be in the range: a saved state with others is refused.
  void index(std::string_view name, const Shape& shape, int64_t minimum, int64_t maximum,
             double fill = 0);
  // An index for each item that moves on with the steps of a stream that has an end, where it is
  // `maximum`.
  void position(std::string_view name, int64_t batch, int64_t minimum, int64_t maximum);
  // Keeps an object that the layer's steps get by Run::plan.
  template <typename T>
  void plan(std::shared_ptr<const T> object) {
    plans_.push_back({std::move(object), &typeid(T)});
  }
  // Keeps one that another declaration has.
  void plan(StepPlan plan) { plans_.push_back(std::move(plan)); }
  // `name` may be empty: the layer's own path.
  void emit(std::string_view name, const SequenceSpec& sequence);

  // Runs fn with `name` appended to the paths; emits can go by another name than state.
  template <typename Fn>
  void within(const std::string& name, const std::string& emit_name, Fn&& fn) {
    check_count();
    const std::string state_path = state_path_, emit_path = emit_path_;
    append(state_path_, name);
    append(emit_path_, emit_name);
    fn();
    state_path_ = state_path;
    emit_path_ = emit_path;
  }

  // Runs fn, and forgets the emits that it declares: those of Run::without_emits.
  template <typename Fn>
  void without_emits(Fn&& fn) {
    const auto count = static_cast<std::ptrdiff_t>(emits_.size());
    fn();
    emits_.erase(emits_.begin() + count, emits_.end());
  }

  // Runs fn, whose state is made from the constants alone, by the first step of a stream.
  template <typename Fn>
  void of_constants(Fn&& fn) {
    const size_t count = states_.size();
    fn();
    for (size_t i = count; i < states_.size(); ++i) states_[i].of_constants = true;
  }

  // Runs fn, which declares the tensors of a Ring of so many parts.
  template <typename Fn>
  void ring(int64_t parts, int64_t history, Fn&& fn) {
    const size_t first = states_.size();
    fn();
    states_[first].ring_parts = parts;
    states_[first].ring_history = history;
  }

  const std::vector<StateSpec>& states() const { return states_; }
  const std::vector<StepPlan>& plans() const { return plans_; }
  const std::vector<EmitSpec>& emits() const { return emits_; }

 private:
  static void append(std::string& path, std::string_view name);
  void check_count();

  Constants constants_;
  int64_t count_ = 0;
  std::string state_path_, emit_path_;
  std::vector<StateSpec> states_;
  std::vector<StepPlan> plans_;
  std::vector<EmitSpec> emits_;
};

}  // namespace sl
