// Steps of an LSTM or a GRU for one batch item, by a kernel that makes the products with input and
// state and the gates in one call.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/run.h"
#include "kernels/recurrent_step.h"
#include "ops/linear.h"
#include "ops/recurrence.h"

namespace sl {
class StepTeam;
}

namespace sl::ops {

// The cell has float32 weights, and the kernel's activations: sigmoid for gates, otherwise tanh.
class RecurrentKernel {
 public:
  enum class Kind { kLstm, kGru };
  struct Weights {
    const Linear* input;
    const Linear* recurrent;
    const float* input_bias;      // null: zeros
    const float* recurrent_bias;  // of a GRU
    int64_t unit_flop;            // operations of a unit beside the products, for profiles
  };
  // The weights must outlive it.
  RecurrentKernel(Kind kind, const Weights& weights);

  // Whether there is a kernel for the formats of these weights.
  static bool fits(const Linear& input, const Linear& recurrent) {
    return input.floats() && recurrent.floats();
  }
  // Whether `step` can take x.
  bool takes(const Sequence& x) const {
    return x.dtype == DType::kFloat32 && x.batch == 1 && x.time == 1 && x.channels.rank() == 1 &&
           x.channels[0] == step_.inputs;
  }

  // The output of an invalid step, which leaves c and h alone.
  enum class Invalid { kZeros, kState };
  // Makes the step x. c (null for a GRU) and h become the next ones. The team of the steps helps if
  // the weights are large.
  Sequence step(Run& run, const Sequence& x, float* c, float* h, Invalid invalid) const;
  // Makes the step of some units on this thread, from the input's product z on, which it
  // overwrites. u is scratch of the size of z.
  void advance(const Run& run, float* z, Units some, float* c, const float* h, float* next_h,
               float* u) const;

 private:
  struct Shared;

  int64_t units() const { return output_.shape[0]; }
  int64_t gates() const { return kind_ == Kind::kLstm ? 4 : 3; }
  // Whether it is the turn of this step to begin with the last units. Steps that take turns find in
  // the cache what the one before has read last, even one of another stream. Results do not depend
  // on it.
  bool take_turn() const {
    const bool turn = turn_.load(std::memory_order_relaxed);
    turn_.store(!turn, std::memory_order_relaxed);
    return turn;
  }
  // A valid step; scratch is [2, gates, units].
  void step(const Run& run, const float* x, float* c, float* h, float* y, float* scratch) const;
  // Runs the kernel for some units. x is null if z has its product.
  void run(const float* x, float* z, Units some, float* c, const float* h, float* next_h, float* u,
           bool backwards) const;
  // Makes the step with the team's help. False if it is busy or asleep, or the weights are small.
  bool share(const StepTeam& team, const float* x, float* c, const float* h, float* y) const;

  const Kind kind_;
  const Weights weights_;
  const ChannelSpec output_;
  // The part that all steps have in common. The objects it comes from are far apart, and weights
  // displace them from the cache.
  const kernels::RecurrentStep step_;
  const kernels::RecurrentStepFunction function_;
  // On its own cache line, since all threads that run the layer write to it.
  alignas(64) mutable std::atomic<bool> turn_ = false;
};

}  // namespace sl::ops
