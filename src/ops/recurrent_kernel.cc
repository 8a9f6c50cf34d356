#include "ops/recurrent_kernel.h"

#include <algorithm>

#include "core/step_team.h"
#include "kernels/gemm.h"
#include "kernels/gru.h"
#include "kernels/lstm.h"

namespace sl::ops {
namespace {

using kernels::kPartUnits;

// Minimum bytes of weights that pay for sharing them.
constexpr int64_t kSharedBytes = int64_t{1} << 20;

// Minimum bytes of weights that take so long to read that a sleeping thread can still come.
constexpr int64_t kLongBytes = int64_t{1} << 23;

}  // namespace

RecurrentKernel::RecurrentKernel(Kind kind, const Weights& weights)
    : kind_(kind),
      weights_(weights),
      output_{DType::kFloat32, {weights.recurrent->inputs()}},
      step_{.x = nullptr,
            .inputs = weights.input->inputs(),
            .input_weights = weights.input->floats(),
            .input_bias = weights.input_bias,
            .z = nullptr,
            .h = nullptr,
            .recurrent_weights = weights.recurrent->floats(),
            .recurrent_bias = weights.recurrent_bias,
            .units = units(),
            .u = nullptr,
            .c = nullptr,
            .next_h = nullptr,
            .begin = 0,
            .end = units(),
            .backwards = false},
      function_(kind == Kind::kLstm ? kernels::lstm_step_function()
                                    : kernels::gru_step_function()) {}

void RecurrentKernel::run(const float* x, float* z, Units some, float* c, const float* h,
                          float* next_h, float* u, bool backwards) const {
  kernels::RecurrentStep step = step_;
  step.x = x;
  step.z = z;
  step.h = h;
  step.u = u;
  step.c = c;
  step.next_h = next_h;
  step.begin = some.begin;
  step.end = some.end;
  step.backwards = backwards;
  function_(step);
}

// A step whose parts are ranges of units. Trivially copyable: workers get a copy.
struct RecurrentKernel::Shared {
  const RecurrentKernel* kernel;
  const float* x;
  const float* h;
  float* c;  // null for a GRU
  float* next_h;
  int64_t parts;
  int64_t of_thread;  // parts that a thread has by itself
  bool backwards;

  // Every second step begins with the last units that the same thread had.
  Units units(int64_t part) const {
    const int64_t first = part / of_thread * of_thread;
    const int64_t i = backwards ? first + of_thread - 1 - (part - first) : part;
    const int64_t count = kernel->units() / kPartUnits;
    return {count * i / parts * kPartUnits, count * (i + 1) / parts * kPartUnits};
  }
  void part(int64_t, int64_t part, int64_t) const {
    kernel->run(x, nullptr, units(part), c, h, next_h, nullptr, backwards);
  }
};

bool RecurrentKernel::share(const StepTeam& team, const float* x, float* c, const float* h,
                            float* y) const {
  const int64_t threads = team.threads(), size = units(), inputs = weights_.input->inputs();
  const int64_t weights = weights_.input->bytes() + weights_.recurrent->bytes();
  if (weights < kSharedBytes || size % kernels::column_group() != 0 || size < threads * kPartUnits)
    return false;
  const int64_t count = inputs + 3 * size;
  if (count > static_cast<int64_t>(StepTeam::kMemoryBytes / sizeof(float))) return false;
  const StepTeam::Turn turn(team, weights >= kLongBytes);
  if (!turn.memory()) return false;
  const int64_t of_thread = std::min(size / kPartUnits, Crew::kMaxParts) / threads;
  const Shared own{this, x, h, c, y, of_thread * threads, of_thread, take_turn()};
  auto* const memory = reinterpret_cast<float*>(turn.memory());
  Shared shared = own;
  shared.next_h = memory;
  shared.x = std::copy_n(x, inputs, memory + size) - inputs;
  shared.h = std::copy_n(h, size, memory + size + inputs) - size;
  if (c) shared.c = std::copy_n(c, size, memory + 2 * size + inputs) - size;
  turn.crew().run(
      shared, own.parts, [&](int64_t part) { own.part(0, part, 0); },
      [&](int64_t part) {
        const Units some = own.units(part);
        std::copy_n(shared.next_h + some.begin, some.size(), y + some.begin);
        if (c) std::copy_n(shared.c + some.begin, some.size(), c + some.begin);
      });
  return true;
}

Sequence RecurrentKernel::step(Run& run, const Sequence& x, float* c, float* h,
                               Invalid invalid) const {
  const Sequence y = run.output_like(x, output_);
  // Taken by invalid steps too, since the amount must not depend on the mask.
  auto* const scratch = run.scratch<float>(2, gates(), units());
  if (x.mask[0]) {
    step(run, x.floats(), c, h, y.floats(), scratch);
  } else if (invalid == Invalid::kState) {
    std::copy_n(h, units(), y.floats());
  } else {
    std::fill_n(y.floats(), units(), 0.0f);
  }
  return y;
}

void RecurrentKernel::step(const Run& run, const float* x, float* c, float* h, float* y,
                           float* scratch) const {
  if (run.parallel().profile()) {
    weights_.input->count(run, 1);
    weights_.recurrent->count(run, 1);
    run.parallel().count(weights_.unit_flop * units());
  }
  const StepTeam* const team = run.parallel().team();
  if (!team || !share(*team, x, c, h, y))
    this->run(x, scratch, {0, units()}, c, h, y, scratch + gates() * units(), take_turn());
  std::copy_n(y, units(), h);
}

void RecurrentKernel::advance(const Run& run, float* z, Units some, float* c, const float* h,
                              float* next_h, float* u) const {
  if (run.parallel().profile()) weights_.recurrent->count(run, 1);
  this->run(nullptr, z, some, c, h, next_h, u, some.size() == units() && take_turn());
}

}  // namespace sl::ops
