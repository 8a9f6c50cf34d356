// Tests steps on several threads: the same results as on one, bit for bit, in states, decoders and
// pipes, still real-time, and with threads of their own that come and go as they should.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

#include "support/lent_thread.h"
#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"
#include "testing/trap.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

constexpr int64_t kChannels = 512;

// Matrices of 1 to 4 MiB, some of whose columns are no whole group.
const char* const kConfigs[] = {
    R"({"type":"Dense","features":1000})",
    R"({"type":"Serial","layers":[{"type":"LSTM","units":512},{"type":"Dense","features":1100}]})",
    R"({"type":"RNN","cell":{"type":"GRUCell","features":512}})",
    R"({"type":"Residual","layers":[{"type":"DotProductSelfAttention","num_heads":8,)"
    R"("units_per_head":64,"max_past_horizon":20,"max_future_horizon":0},{"type":"Flatten"},)"
    R"({"type":"Dense","features":512,"activation":"relu"}]})"};

Layer layer_with(const char* config, int32_t step_threads, int32_t max_lent_threads = 0) {
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.num_step_threads = step_threads;
  options.max_lent_threads = max_lent_threads;
  return make_model(config, kChannels, &options);
}

Input input_of(int64_t batch, uint32_t seed) {
  std::mt19937 rng(seed);
  return {random_sequence(SL_DTYPE_FLOAT32, {batch, 24, kChannels}, rng), {}};
}

// Time for threads that run on idle CPUs only.
void pause() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

// A thread that is lent to a layer with a state, until the end of its scope.
class Lent {
 public:
  explicit Lent(const Layer& layer)
      : thread_([&](sl_keep_going keep_going, void* data) {
          const AllocationTrap trap;
          status_ = sl_layer_lend_thread(layer.get(), keep_going, data, nullptr);
          allocations_ = trap.count();
        }) {}
  ~Lent() {
    thread_.stop();
    CHECK(status_ == SL_STATUS_OK);
    CHECK(allocations_ == 0);
  }

 private:
  sl_status status_ = SL_STATUS_INTERNAL;
  int64_t allocations_ = 0;
  LentThread thread_;
};

// Steps streams of `several`, each on a thread of its own, and returns how many runs differ from
// those of `one`. Calls `meanwhile` with the number of threads that are left.
template <typename Meanwhile>
int wrong_runs(const Layer& one, const Layer& several, uint32_t callers, int repeats,
               const Meanwhile& meanwhile) {
  std::atomic<int> wrong{0};
  std::atomic<uint32_t> left{callers};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < callers; ++i) {
    threads.emplace_back([&, i] {
      const Input input = input_of(1, i);
      const Tensor want = Stepper(one, input).run(0, 24);
      Stepper stepper(several, input);
      for (int repeat = 0; repeat < repeats; ++repeat) {
        wrong += !compare_bits(stepper.run(0, 24), want).ok();
        stepper.reset();
      }
      --left;
    });
  }
  meanwhile(left);
  for (std::thread& thread : threads) thread.join();
  return wrong;
}

TEST_CASE("steps on several threads give the bits of one, in real time", "[step_threads]") {
  for (const char* config : kConfigs) {
    INFO(config);
    const Layer one = layer_with(config, 0);
    for (const int32_t threads : {2, 3}) {
      const Layer several = layer_with(config, threads);
      for (const int64_t batch : {1, 3}) {
        const Input input = input_of(batch, 1);
        for (const int64_t blocks : {1, 6}) {
          Stepper::Options options;
          options.blocks_per_step = blocks;
          const Tensor want = Stepper(one, input, options).run(0, 24 / blocks);
          Stepper stepper(several, input, options);
          for (int repeat = 0; repeat < 3; ++repeat) {
            const Tensor got = stepper.run(0, 24 / blocks);
            CHECK(compare_bits(got, want).reason == "");
            stepper.reset();
            pause();
          }
          CHECK(stepper.allocations() == 0);
        }
      }
    }
  }
}

TEST_CASE("steps with lent threads give the bits of one, in real time", "[step_threads]") {
  for (const char* config : kConfigs) {
    INFO(config);
    const Layer one = layer_with(config, 0);
    for (const int32_t own : {1, 2}) {
      const Layer several = layer_with(config, own, 2);
      for (const int64_t batch : {1, 3}) {
        const Input input = input_of(batch, 1);
        const Tensor want = Stepper(one, input).run(0, 24);
        Stepper stepper(several, input);
        for (int lent = 0; lent <= 2; ++lent) {
          std::optional<Lent> threads[2];
          for (int i = 0; i < lent; ++i) threads[i].emplace(several);
          for (int repeat = 0; repeat < 3; ++repeat) {
            CHECK(compare_bits(stepper.run(0, 24), want).reason == "");
            stepper.reset();
          }
        }
        CHECK(stepper.allocations() == 0);
      }
    }
  }
}

TEST_CASE("threads are lent and taken back while streams step", "[step_threads]") {
  const Layer one = layer_with(kConfigs[1], 1), several = layer_with(kConfigs[1], 1, 2);
  const auto lend = [&](const std::atomic<uint32_t>& callers_left) {
    while (callers_left > 0) {
      int calls = 0;
      several.lend_thread([&] { return callers_left > 0 && ++calls < 1000; });
    }
  };
  CHECK(wrong_runs(one, several, 2, 20, lend) == 0);
}

TEST_CASE("a thread may be lent before the layer's first state", "[step_threads]") {
  const Layer layer = layer_with(kConfigs[0], 1, 1);
  int calls = 0;
  layer.lend_thread([&] { return ++calls < 100; });
  CHECK(calls == 100);
  const auto stop = [](void*) { return int32_t{0}; };
  CHECK(sl_layer_lend_thread(layer.get(), stop, nullptr, nullptr) == SL_STATUS_OK);
}

// The failure of lending this thread, which the layer must not keep.
Failure lend_failure(const sl_layer* layer, sl_keep_going keep_going) {
  return failure_of(
      [&](sl_error* e) { return sl_layer_lend_thread(layer, keep_going, nullptr, e); });
}

TEST_CASE("threads that cannot be lent are refused", "[step_threads]") {
  const auto stop = [](void*) { return int32_t{0}; };
  const Layer none = layer_with(kConfigs[0], 2), two = layer_with(kConfigs[0], 1, 2);
  const auto refused = [](const Failure& failure, const char* message) {
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK_THAT(failure.message, Contains(message));
  };
  refused(lend_failure(nullptr, stop), "layer is null");
  refused(lend_failure(two.get(), nullptr), "keep_going is null");
  refused(lend_failure(none.get(), stop), "its max_lent_threads is 0");
  const Stepper stepper(two, input_of(1, 1));
  {
    const Lent first(two);
    CHECK(lend_failure(two.get(), stop).status == SL_STATUS_OK);
    const Lent second(two);
    refused(lend_failure(two.get(), stop), "has all 2 threads that its max_lent_threads allows");
  }
  CHECK(lend_failure(two.get(), stop).status == SL_STATUS_OK);
}

TEST_CASE("an exception of a lent thread's callback gives its place back", "[step_threads]") {
  const Layer layer = layer_with(kConfigs[0], 1, 1);
  const sl_keep_going thrower = [](void*) -> int32_t { throw std::runtime_error("enough"); };
  const Failure failure = lend_failure(layer.get(), thrower);
  CHECK(failure.status == SL_STATUS_INTERNAL);
  CHECK_THAT(failure.message, Contains("enough"));
  CHECK(lend_failure(layer.get(), [](void*) { return int32_t{0}; }).status == SL_STATUS_OK);
}

TEST_CASE("streams of one layer share its threads", "[step_threads]") {
  const Layer one = layer_with(kConfigs[1], 1), several = layer_with(kConfigs[1], 3);
  CHECK(wrong_runs(one, several, 4, 10, [](const std::atomic<uint32_t>&) {}) == 0);
}

TEST_CASE("decoders choose the same tokens on several threads", "[step_threads]") {
  const char* config =
      R"({"type":"Serial","layers":[{"type":"Embedding","dimension":512,"num_embeddings":600},)"
      R"({"type":"LSTM","units":512},{"type":"Dense","features":600}]})";
  const auto decoded = [&](int32_t threads, int32_t max_lent_threads = 0) {
    const Layer layer = layer_with(config, threads, max_lent_threads);
    sl_decoder_options options = SL_DECODER_OPTIONS_INIT;
    options.batch = 2;
    options.temperature = 1;
    options.seed = 3;
    sequence_layers::Decoder decoder(layer, options);
    std::optional<Lent> lent;
    if (max_lent_threads > 0) lent.emplace(layer);
    std::vector<float> out;
    int32_t tokens[2];
    float log_probs[2];
    for (int t = 0; t < 20; ++t) {
      REQUIRE(decoder.sample(tokens, log_probs, nullptr) == SL_STATUS_OK);
      for (int b = 0; b < 2; ++b) {
        out.push_back(static_cast<float>(tokens[b]));
        out.push_back(log_probs[b]);
      }
    }
    return out;
  };
  const std::vector<float> want = decoded(1);
  CHECK(decoded(2) == want);
  CHECK(decoded(1, 1) == want);
}

TEST_CASE("pipes play the same on several threads, with denormals", "[step_threads]") {
  const char* config =
      R"({"type":"Serial","layers":[{"type":"ExpandDims","axis":-1},{"type":"Dense","features":512},)"
      R"({"type":"Dense","features":600},{"type":"Dense","features":1},)"
      R"({"type":"Squeeze","axis":-1}]})";
  const auto played = [&](int32_t threads) {
    sl_layer_options layer_options = SL_LAYER_OPTIONS_INIT;
    layer_options.num_step_threads = threads;
    std::mt19937 rng(1);
    const WeightHints inputs = {
        {"layers_1", {1, {}, {}}}, {"layers_2", {512, {}, {}}}, {"layers_3", {600, {}, {}}}};
    const Layer layer(config, make_weights(config, inputs, rng), &layer_options);
    sl_pipe_options options = SL_PIPE_OPTIONS_INIT;
    options.host_rate = options.model_rate = 16000;
    sequence_layers::Pipe pipe(layer, options);
    // Fades into numbers that are denormal within the model.
    std::vector<float> x(512), y(512);
    for (size_t i = 0; i < x.size(); ++i) x[i] = std::ldexp(1.0f, -static_cast<int>(i % 150));
    sl_error error = SL_ERROR_INIT;
    for (size_t at = 0; at < x.size(); at += 64) {
      const float* in = x.data() + at;
      float* out = y.data() + at;
      REQUIRE(pipe.process(&in, &out, 64, &error) == SL_STATUS_OK);
    }
    return y;
  };
  CHECK(played(2) == played(1));
}

int64_t running_threads() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

// Whether the number of threads becomes `count`: one that has been joined may linger.
bool has_threads(int64_t count) {
  for (int i = 0; i < 1000 && running_threads() != count; ++i) pause();
  return running_threads() == count;
}

TEST_CASE("the threads of steps live from the first state to the end of the layer",
          "[step_threads]") {
  const int64_t before = running_threads();
  std::optional<Layer> layer = layer_with(kConfigs[0], 4);
  CHECK(running_threads() == before);
  const Input input = input_of(1, 1);
  {
    const Stepper first(*layer, input), second(*layer, input);
    CHECK(running_threads() == before + 3);
  }
  CHECK(running_threads() == before + 3);
  layer.reset();
  CHECK(has_threads(before));
  const Layer one = layer_with(kConfigs[0], 1);
  const Stepper stepper(one, input);
  CHECK(running_threads() == before);
}

TEST_CASE("a number of step threads out of range is refused", "[step_threads]") {
  for (const int32_t threads : {-1, 65}) {
    sl_layer_options options = SL_LAYER_OPTIONS_INIT;
    options.num_step_threads = threads;
    sl_layer* layer = nullptr;
    const std::string config = R"({"type":"Identity"})";
    const Failure failure = failure_of([&](sl_error* e) {
      return sl_layer_create(config.data(), config.size(), nullptr, &options, &layer, e);
    });
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK_THAT(failure.message, Contains("options.num_step_threads is " + std::to_string(threads) +
                                         ": expected 1 to 64"));
  }
}

TEST_CASE("a number of lent threads out of range is refused", "[step_threads]") {
  const auto failure_with = [](int32_t own, int32_t lent) {
    sl_layer_options options = SL_LAYER_OPTIONS_INIT;
    options.num_step_threads = own;
    options.max_lent_threads = lent;
    const std::string config = R"({"type":"Identity"})";
    sl_layer* layer = nullptr;
    const Failure failure = failure_of([&](sl_error* e) {
      return sl_layer_create(config.data(), config.size(), nullptr, &options, &layer, e);
    });
    sl_layer_free(layer);
    return failure;
  };
  for (const int32_t lent : {-1, 61}) {
    const Failure failure = failure_with(4, lent);
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK_THAT(failure.message, Contains("options.max_lent_threads is " + std::to_string(lent) +
                                         ": expected 0 to 60"));
  }
  CHECK(failure_with(4, 60).status == SL_STATUS_OK);
  CHECK(failure_with(0, 63).status == SL_STATUS_OK);
}

// Whether fn(write end of a pipe) writes 1 in a child process, which is killed afterwards.
template <typename Fn>
bool reports_from_child(Fn&& fn) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    alarm(120);
    fn(ends[1]);
    while (true) read(ends[0], ends, 0);  // no other call of the system is allowed
  }
  close(ends[1]);
  char report = 0;
  const bool reported = read(ends[0], &report, 1) == 1;
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ends[0]);
  return reported && report == 1;
}

void report(int end, bool holds) {
  const char byte = holds ? 1 : 0;
  [[maybe_unused]] const ssize_t written = write(end, &byte, 1);
}

TEST_CASE("a forked child steps on, on one thread until it makes a state", "[step_threads]") {
  const Layer layer = layer_with(kConfigs[1], 2);
  const Input input = input_of(1, 1);
  Stepper stepper(layer, input);
  const Tensor want = stepper.run(0, 24);
  CHECK(reports_from_child([&](int end) {
    stepper.reset();
    const bool steps = compare_bits(stepper.run(0, 24), want).ok() && running_threads() == 1;
#ifdef SL_SANITIZE_THREAD  // ThreadSanitizer ends a child process that starts threads
    const int64_t expected = 1;
#else
    const int64_t expected = 2;
#endif
    Stepper own(layer, input);
    report(end, steps && running_threads() == expected && compare_bits(own.run(0, 24), want).ok());
  }));
}

#if !defined(SL_SANITIZE_THREAD) && !defined(SL_SANITIZE_ADDRESS)
// From now on the system ends the process if this thread calls it, except to read or write.
bool forbid_calls() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(filter)), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_CASE("steps on several threads do not call the system", "[step_threads]") {
  CHECK(reports_from_child([&](int end) {
    const Layer layer = layer_with(kConfigs[1], 2);
    sl_state_options options = SL_STATE_OPTIONS_INIT;
    options.input.rank = 1;
    options.input.dims[0] = kChannels;
    State state(layer, options);
    Tensor x = input_of(1, 1).x;
    Tensor y = make_sequence(SL_DTYPE_FLOAT32, {1, 1, 1100});
    sl_sequence in = x.view(), out = y.view();
    in.dims[1] = 1;
    bool holds = forbid_calls();
    // Long enough that the thread wakes, helps and, with a pause in between, sleeps again.
    for (int i = 0; i < 3000; ++i) {
      holds &= state.step(in, &out, nullptr, nullptr) == SL_STATUS_OK;
      for (int spin = 0; i % 100 == 0 && spin < 3000000; ++spin) __asm__ __volatile__("");
    }
    report(end, holds);
  }));
}

TEST_CASE("a lent thread does not call the system", "[step_threads]") {
  CHECK(reports_from_child([&](int end) {
    const Layer layer = layer_with(kConfigs[1], 1, 1);
    const Input input = input_of(1, 1);
    Stepper stepper(layer, input);
    std::atomic<int> rounds{0}, lends{0};
    std::thread lent([&] {
      bool holds = forbid_calls();
      while (holds) {
        const int now = rounds;
        ++lends;
        const sl_keep_going goes_on = [](void* data) {
          const auto* at = static_cast<std::pair<std::atomic<int>*, int>*>(data);
          return int32_t{*at->first == at->second};
        };
        std::pair<std::atomic<int>*, int> at{&rounds, now};
        holds = sl_layer_lend_thread(layer.get(), goes_on, &at, nullptr) == SL_STATUS_OK;
      }
    });
    for (int i = 1; i <= 20; ++i) {
      while (lends < i) std::this_thread::yield();
      stepper.run(0, 24);
      ++rounds;
    }
    while (lends < 21) std::this_thread::yield();
    report(end, true);
    while (true) std::this_thread::yield();  // the thread cannot end without a call
  }));
}
#endif

}  // namespace
}  // namespace sl::testing
