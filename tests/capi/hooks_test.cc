// Tests the caller's hooks: allocator, parallel_for and log.
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

// An allocator that counts allocations, checks what is freed, and fails on demand.
class Accounts {
 public:
  Accounts() {
    hook_.user_data = this;
    hook_.allocate = [](void* self, size_t size, size_t alignment) {
      return static_cast<Accounts*>(self)->allocate(size, alignment);
    };
    hook_.deallocate = [](void* self, void* memory, size_t size, size_t alignment) {
      static_cast<Accounts*>(self)->deallocate(memory, size, alignment);
    };
  }

  const sl_allocator* hook() const { return &hook_; }
  int64_t calls() const { return calls_; }
  size_t open() const { return open_.size(); }
  // Makes the call after the next `n` and all later ones fail; -1 for none.
  void fail_after(int64_t n) { left_ = n; }
  int64_t mistakes() const { return mistakes_; }

 private:
  void* allocate(size_t size, size_t alignment) {
    const std::lock_guard lock(mutex_);
    ++calls_;
    if (left_ == 0) return nullptr;
    if (left_ > 0) --left_;
    void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    open_[memory] = {size, alignment};
    return memory;
  }

  // Freed memory must come from this allocator, with the same size and alignment.
  void deallocate(void* memory, size_t size, size_t alignment) {
    const std::lock_guard lock(mutex_);
    const auto it = open_.find(memory);
    if (it == open_.end() || it->second != std::pair(size, alignment)) ++mistakes_;
    open_.erase(memory);
    std::free(memory);
  }

  sl_allocator hook_ = SL_ALLOCATOR_INIT;
  std::mutex mutex_;
  std::map<void*, std::pair<size_t, size_t>> open_;
  int64_t calls_ = 0;
  int64_t left_ = -1;
  int64_t mistakes_ = 0;
};

Input input_for(const Sample& sample, int64_t batch, int64_t time) {
  std::vector<int64_t> dims = {batch, time};
  dims.insert(dims.end(), sample.channels.begin(), sample.channels.end());
  std::mt19937 rng(5);
  return {random_sequence(sample.dtype, dims, rng), {}};
}

TEST_CASE("all memory from the hook goes back to it", "[allocator]") {
  for (const Sample& sample : samples()) {
    INFO(sample.name);
    Accounts accounts;
    {
      sl_layer_options options = SL_LAYER_OPTIONS_INIT;
      options.allocator = accounts.hook();
      const Layer layer = make_sample(sample, &options);
      const Input input = input_for(sample, 2, 12);
      const Tensor y = apply(layer, input);
      CHECK(accounts.calls() > 0);
      const size_t idle = accounts.open();
      Stepper stepper(layer, input);
      const int64_t before = accounts.calls();
      CHECK(accounts.open() > idle);
      stepper.run_all();
      CHECK(accounts.calls() == before);  // steps allocate nothing
    }
    CHECK(accounts.open() == 0);
    CHECK(accounts.mistakes() == 0);
  }
}

TEST_CASE("a state can have its own allocator", "[allocator]") {
  Accounts of_layer, of_state;
  {
    sl_layer_options layer_options = SL_LAYER_OPTIONS_INIT;
    layer_options.allocator = of_layer.hook();
    const Layer layer = make_model(R"({"type":"LSTM","units":3})", 2, &layer_options);
    sl_state_options options = SL_STATE_OPTIONS_INIT;
    options.input.rank = 1;
    options.input.dims[0] = 2;
    options.allocator = of_state.hook();
    const State state(layer, options);
    CHECK(of_state.open() == 1);
    sl_allocator bad = SL_ALLOCATOR_INIT;
    bad.allocate = of_state.hook()->allocate;
    options.allocator = &bad;
    sl_state* none = nullptr;
    CHECK(sl_state_alloc(layer.get(), &options, &none, nullptr) == SL_STATUS_INVALID_ARGUMENT);
  }
  CHECK(of_layer.open() == 0);
  CHECK(of_state.open() == 0);
  CHECK(of_layer.mistakes() + of_state.mistakes() == 0);
}

TEST_CASE("a failed allocation at any point is an error and leaks nothing", "[allocator]") {
  for (const Sample& sample : samples()) {
    INFO(sample.name);
    Accounts accounts;
    sl_layer_options options = SL_LAYER_OPTIONS_INIT;
    options.allocator = accounts.hook();
    const Layer layer = make_sample(sample, &options);
    const Input input = input_for(sample, 1, 12);
    const Tensor want = apply(layer, input);
    Tensor y = want;
    sl_state_options state_options = SL_STATE_OPTIONS_INIT;
    state_options.input = spec_of(sample);

    int64_t failed = 0;
    for (int64_t n = 0;; ++n) {
      accounts.fail_after(n);
      const sl_sequence in = input.x.view();
      sl_sequence out = y.view();
      const Failure apply = failure_of(
          [&](sl_error* e) { return sl_layer_apply(layer.get(), &in, &out, nullptr, e); });
      accounts.fail_after(n);
      sl_state* state = nullptr;
      const Failure alloc = failure_of(
          [&](sl_error* e) { return sl_state_alloc(layer.get(), &state_options, &state, e); });
      sl_state_free(state);
      CHECK(accounts.open() == 0);
      if (apply.status == SL_STATUS_OK && alloc.status == SL_STATUS_OK) break;
      for (const Failure& failure : {apply, alloc}) {
        if (failure.status == SL_STATUS_OK) continue;
        CHECK(failure.status == SL_STATUS_OUT_OF_MEMORY);
        CHECK(failure.message != "");
        ++failed;
      }
    }
    CHECK(failed > 0);
    CHECK(compare_bits(y, want).reason == "");
    accounts.fail_after(-1);
    CHECK(compare_bits(apply(layer, input), want).reason == "");
    CHECK(accounts.mistakes() == 0);
  }
}

// A model large enough for its work to be divided between threads.
struct Large {
  const char* config;
  std::vector<int64_t> channels;
};

const std::vector<Large>& large_models() {
  static const std::vector<Large> all = {
      {R"({"type":"Dense","features":200})", {100}},
      {R"({"type":"Conv1D","filters":64,"kernel_size":5,"padding":"causal_valid",)"
       R"("activation":"gelu"})",
       {48}},
      {R"({"type":"Conv2D","filters":8,"kernel_size":3,"time_padding":"causal"})", {24, 8}},
      {R"({"type":"LSTM","units":48})", {32}},
      {R"({"type":"Serial","layers":[{"type":"Dense","features":96},{"type":"Swish"},)"
       R"({"type":"Softmax"}]})",
       {64}},
      {R"({"type":"RGLRU","units":96,"num_heads":2})", {96}},
      {R"({"type":"DotProductSelfAttention","num_heads":2,"units_per_head":16,)"
       R"("max_past_horizon":200})",
       {32}},
  };
  return all;
}

Input large_input(const Large& large) {
  std::vector<int64_t> dims = {3, 300};
  dims.insert(dims.end(), large.channels.begin(), large.channels.end());
  std::mt19937 rng(8);
  return {random_sequence(SL_DTYPE_FLOAT32, dims, rng), {}};
}

Layer make_large(const Large& large, const sl_layer_options& options) {
  return make_model(large.config, large.channels.back(), &options);
}

TEST_CASE("any number of threads gives the same bits", "[parallel]") {
  for (const Large& large : large_models()) {
    INFO(large.config);
    const Input input = large_input(large);
    sl_layer_options options = SL_LAYER_OPTIONS_INIT;
    const Layer alone = make_large(large, options);
    const Tensor want = apply(alone, input);
    const Tensor want_in_stream = Stepper(alone, input).prefill(300);
    for (const int32_t threads : {2, 3, 7}) {
      options.num_threads = threads;
      const Layer layer = make_large(large, options);
      for (int run = 0; run < 2; ++run) {
        CHECK(compare_bits(apply(layer, input), want).reason == "");
        CHECK(compare_bits(Stepper(layer, input).prefill(300), want_in_stream).reason == "");
      }
    }
  }
}

// Runs the tasks on two threads, in reverse order.
struct Workers {
  std::atomic<int64_t> calls{0};
  std::atomic<int64_t> tasks{0};

  static void run(void* self, int64_t count, void (*task)(void*, int64_t), void* context) {
    auto* workers = static_cast<Workers*>(self);
    ++workers->calls;
    workers->tasks += count;
    const auto half = [&](int64_t parity) {
      for (int64_t i = count - 1; i >= 0; --i) {
        if (i % 2 == parity) task(context, i);
      }
    };
    std::thread odd(half, 1);
    half(0);
    odd.join();
  }
};

TEST_CASE("the caller's parallel_for is used, and never in steps", "[parallel]") {
  int64_t calls = 0;
  for (const Large& large : large_models()) {
    INFO(large.config);
    const Input input = large_input(large);
    sl_layer_options options = SL_LAYER_OPTIONS_INIT;
    const Tensor want = apply(make_large(large, options), input);
    Workers workers;
    options.num_threads = 2;
    options.parallel_for = &Workers::run;
    options.parallel_for_user_data = &workers;
    const Layer layer = make_large(large, options);
    CHECK(compare_bits(apply(layer, input), want).reason == "");
    calls += workers.calls;
    CHECK(workers.tasks >= workers.calls);
    const int64_t before = workers.calls;
    Stepper stepper(layer, input);
    stepper.run(0, 3);
    CHECK(workers.calls == before);
  }
  CHECK(calls > 0);
}

struct Messages {
  std::vector<std::pair<int32_t, std::string>> all;
  static void add(void* self, int32_t level, const char* message) {
    static_cast<Messages*>(self)->all.emplace_back(level, message);
  }
};

TEST_CASE("the hook gets log messages of at least the requested level", "[log]") {
  Messages messages;
  sl_log_set(&Messages::add, &messages, SL_LOG_DEBUG);
  const Layer layer = make_model(R"({"type":"LSTM","units":2})", 3);
  REQUIRE(messages.all.size() > 0);
  for (const auto& [level, message] : messages.all) {
    CHECK((level >= SL_LOG_DEBUG && level <= SL_LOG_ERROR));
    CHECK(message != "");
  }
  CHECK(messages.all.back().second.find("LSTM") != std::string::npos);

  // Steps of a stream do not log.
  const size_t before = messages.all.size();
  std::mt19937 rng(1);
  Stepper stepper(layer, {random_sequence(SL_DTYPE_FLOAT32, {1, 4, 3}, rng), {}});
  const size_t made = messages.all.size();
  stepper.run_all();
  CHECK(messages.all.size() == made);
  CHECK(made >= before);

  for (const int32_t level : std::vector<int32_t>{SL_LOG_ERROR, SL_LOG_OFF, 99}) {
    messages.all.clear();
    sl_log_set(&Messages::add, &messages, level);
    make_model(R"({"type":"Relu"})");
    CHECK(messages.all.empty());
  }
  messages.all.clear();
  sl_log_set(nullptr, nullptr, SL_LOG_WARNING);
  make_model(R"({"type":"Relu"})");
  CHECK(messages.all.empty());
}

// Returns what the library writes to stderr during fn.
template <typename Fn>
std::string stderr_of(Fn&& fn) {
  std::fflush(stderr);
  std::FILE* const file = std::tmpfile();
  const int saved = dup(STDERR_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  fn();
  std::fflush(stderr);
  dup2(saved, STDERR_FILENO);
  close(saved);
  std::string text(1 << 16, '\0');
  std::rewind(file);
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

TEST_CASE("without a hook, messages of at least the requested level go to stderr", "[log]") {
  const auto written = [](int32_t level) {
    return stderr_of([&] {
      sl_log_set(nullptr, nullptr, level);
      make_model(R"({"type":"Relu"})");
    });
  };
  CHECK_THAT(written(SL_LOG_INFO), Contains("made a Relu"));
  CHECK(written(SL_LOG_OFF) == "");
  CHECK(written(SL_LOG_WARNING) == "");
}

}  // namespace
}  // namespace sl::testing
