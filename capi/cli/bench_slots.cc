// sl bench --slots: streams that share a state beside streams with states of their own.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "cli/bench.h"
#include "testing/runner.h"
#include "testing/trap.h"

namespace sl::cli {

using sequence_layers::check;
using sequence_layers::Layer;
using sequence_layers::State;
using testing::AllocationTrap;
using testing::Input;
using testing::Tensor;
using Clock = std::chrono::steady_clock;

namespace {

// Turns of the two ways, so that other load on the machine meets both.
constexpr int kTurns = 6;

// A call on one state: its input and room for its output.
class Call {
 public:
  Call(const Layer& layer, const BenchOptions& options, int64_t batch)
      : input_(valid_input(layer, options, batch, layer.block_size() * options.blocks)),
        constants_(views(input_.constants)),
        options_(sequence_layers::run_options(constants_)),
        x_(input_.x.view()),
        output_(testing::make_like(layer.output_shape(x_, SL_MODE_STEP, &options_))),
        y_(output_.view()),
        slots_(static_cast<size_t>(batch)) {
    std::iota(slots_.begin(), slots_.end(), int64_t{0});
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  State make_state(const Layer& layer, const BenchOptions& options) const {
    sl_state_options state = sequence_layers::state_options(
        testing::channel_spec(input_.x), input_.x.batch(), input_.x.time(), constants_);
    state.max_length = options.max_length;
    return State(layer, state);
  }
  void step(State& state) {
    check([&](sl_error* e) { return state.step(x_, &y_, &options_, e); });
  }
  void step_slots(State& state) {
    const auto count = static_cast<int64_t>(slots_.size());
    check(
        [&](sl_error* e) { return state.step_slots(slots_.data(), count, x_, &y_, &options_, e); });
  }

 private:
  Input input_;
  std::vector<sl_constant> constants_;
  sl_run_options options_;
  sl_sequence x_;
  Tensor output_;
  sl_sequence y_;
  std::vector<int64_t> slots_;
};

// Rounds of one way on one thread, with the time of each.
struct Rounds {
  std::vector<double> times;
  int64_t heap_calls = 0;

  template <typename Round>
  void run(Clock::duration duration, Round&& round) {
    const auto end = Clock::now() + duration;
    do {
      const auto start = Clock::now();
      const AllocationTrap trap;
      round();
      heap_calls += trap.count();
      times.push_back(micros(Clock::now() - start));
    } while (Clock::now() < end);
  }
};

// The streams of one thread.
class Share {
 public:
  Share(const Layer& layer, const BenchOptions& options, int64_t count)
      : one_(layer, options, 1),
        all_(layer, options, count),
        steps_(layer.block_size() * options.blocks),
        max_length_(options.max_length),
        shared_(all_.make_state(layer, options)) {
    for (int64_t i = 0; i < count; ++i) states_.push_back(one_.make_state(layer, options));
    for (Rounds* rounds : {&alone, &slots}) rounds->times.reserve(1 << 20);
    restart();
  }

  void run_alone(Clock::duration duration) {
    alone.run(duration, [&] {
      for (State& state : states_) one_.step(state);
      count_steps();
    });
  }
  void run_slots(Clock::duration duration) {
    slots.run(duration, [&] {
      all_.step_slots(shared_);
      count_steps();
    });
  }

  Rounds alone, slots;

 private:
  static constexpr int64_t kPositions = 8;

  // Streams of a server are at different positions: so are these, and their rings with them.
  void restart() {
    for (size_t i = 0; i < states_.size(); ++i) {
      states_[i].reset();
      for (int64_t t = 0; t < static_cast<int64_t>(i) % kPositions; ++t) one_.step(states_[i]);
      shared_.copy_item_from(static_cast<int64_t>(i), states_[i], 0);
    }
    room_ = max_length_ == 0 ? 0 : max_length_ / steps_ - kPositions;
  }
  // Either way may reach the maximum length first: both begin again.
  void count_steps() {
    if (max_length_ > 0 && --room_ <= 0) restart();
  }

  Call one_, all_;
  int64_t steps_, max_length_, room_ = 0;
  State shared_;
  std::vector<State> states_;
};

// Runs fn for every share on a thread of its own.
template <typename Fn>
void on_threads(std::vector<std::unique_ptr<Share>>& shares, Fn&& fn) {
  std::vector<std::jthread> threads;
  for (auto& share : shares) threads.emplace_back([&fn, &share] { fn(*share); });
}

// Reports one way, and returns its rounds per second: a round of all streams is one on each thread.
double report(const char* name, const std::vector<std::unique_ptr<Share>>& shares,
              Rounds Share::*way, Findings& findings) {
  std::vector<double> times;
  double per_second = 0;
  int64_t heap_calls = 0;
  for (const auto& share : shares) {
    const Rounds& rounds = (*share).*way;
    const double total = std::accumulate(rounds.times.begin(), rounds.times.end(), 0.0);
    per_second += static_cast<double>(rounds.times.size()) / total * 1e6;
    times.insert(times.end(), rounds.times.begin(), rounds.times.end());
    heap_calls += rounds.heap_calls;
  }
  std::ranges::sort(times);
  per_second /= static_cast<double>(shares.size());
  findings.times(name, times);
  if (AllocationTrap::available()) findings.heap_calls(name, heap_calls, times.size());
  findings.rounds(name, per_second);
  return per_second;
}

}  // namespace

void bench_slots(const Layer& layer, const BenchOptions& options, Findings& findings) {
  const int64_t threads = std::min<int64_t>(options.threads, options.slots);
  std::vector<std::unique_ptr<Share>> shares;
  for (int64_t i = 0; i < threads; ++i) {
    const int64_t first = options.slots * i / threads, end = options.slots * (i + 1) / threads;
    shares.push_back(std::make_unique<Share>(layer, options, end - first));
  }
  const auto turn = std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(options.seconds / kTurns));
  for (int i = 0; i < kTurns; ++i) {
    on_threads(shares, [&](Share& share) { share.run_alone(turn); });
    on_threads(shares, [&](Share& share) { share.run_slots(turn); });
  }
  const double alone = report("states", shares, &Share::alone, findings);
  const double slots = report("slots", shares, &Share::slots, findings);
  findings.json()["slots"]["streams"] = options.slots;
  findings.json()["slots"]["times_states"] = slots / alone;
  char text[160];
  std::snprintf(text, sizeof(text),
                "%lld streams on %lld thread(s): slots do %.2f times the rounds of states",
                static_cast<long long>(options.slots), static_cast<long long>(threads),
                slots / alone);
  findings.say(text);
}

}  // namespace sl::cli
