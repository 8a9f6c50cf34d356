// Fault 5: a thread that could not be started ended the process. In the child of a fork, a layer
// with threads hung when it ran and when it was freed.
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/models.h"

#if defined(SL_SANITIZE_ADDRESS) || defined(SL_SANITIZE_THREAD)
#define SL_OWNS_THREADS 0
#else
#define SL_OWNS_THREADS 1
#endif

namespace sl::testing {
namespace {

// Number of threads that can still be started before the system refuses; negative for no limit.
std::atomic<int> g_threads_left = -1;

using Start = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);

}  // namespace

bool refuses_thread() {
  int left = g_threads_left.load();
  if (left < 0) return false;
  if (left == 0) return true;
  g_threads_left.store(left - 1);
  return false;
}

}  // namespace sl::testing

#if SL_OWNS_THREADS
// The library calls the executable's definition of this function.
extern "C" __attribute__((visibility("default"))) int pthread_create(
    pthread_t* thread, const pthread_attr_t* attributes, void* (*routine)(void*),
    void* argument) noexcept {
  if (sl::testing::refuses_thread()) return EAGAIN;
  static const auto start =
      reinterpret_cast<sl::testing::Start>(dlsym(RTLD_NEXT, "pthread_create"));
  return start(thread, attributes, routine, argument);
}
#endif

namespace sl::testing {
namespace {

constexpr int64_t kSteps = 400, kChannels = 48;

Layer make_threaded(int32_t threads) {
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.num_threads = threads;
  return make_model(
      R"({"type":"Serial","layers":[{"type":"Conv1D","filters":48,"kernel_size":5,)"
      R"("padding":"causal"},{"type":"LSTM","units":48},{"type":"Dense","features":48}]})",
      kChannels, &options);
}

// Runs the layer on a fixed input and returns its output.
std::vector<float> apply(const sl_layer* layer) {
  std::vector<float> x(kSteps * kChannels), y(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 11) * 0.1f - 0.5f;
  sl_sequence in = SL_SEQUENCE_INIT;
  in.rank = 3;
  in.dims[0] = 1;
  in.dims[1] = kSteps;
  in.dims[2] = kChannels;
  sl_sequence out = in;
  in.data = x.data();
  out.data = y.data();
  if (sl_layer_apply(layer, &in, &out, nullptr, nullptr) != SL_STATUS_OK) y.clear();
  return y;
}

int64_t running_threads() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

// Whether fn returns true in a child process, within a minute.
template <typename Fn>
bool holds_in_child(Fn&& fn) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(fn() ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status == 0;
}

struct Log {
  Log() {
    sl_log_set([](void* log, int32_t, const char* text) { static_cast<Log*>(log)->add(text); },
               this, SL_LOG_WARNING);
  }
  ~Log() { sl_log_set(nullptr, nullptr, SL_LOG_WARNING); }
  void add(const char* text) { messages.emplace_back(text); }
  std::vector<std::string> messages;
};

TEST_CASE("fault 5: a layer works without threads that cannot be started", "[f05]") {
  const std::vector<float> expected = apply(make_threaded(4).get());
  REQUIRE(expected.size() == kSteps * kChannels);
#if SL_OWNS_THREADS
  for (const int started : {0, 1, 2}) {
    Log log;
    g_threads_left = started;
    Layer layer = make_threaded(4);
    g_threads_left = -1;
    REQUIRE(!log.messages.empty());
    CHECK_THAT(log.messages.back(), Catch::Matchers::StartsWith(std::to_string(started + 1) +
                                                                " of 4 threads could be started"));
    CHECK(apply(layer.get()) == expected);
  }
#endif
}

TEST_CASE("fault 5: a layer with threads runs and ends after a fork", "[f05]") {
  std::optional<Layer> layer = make_threaded(4);
  const std::vector<float> expected = apply(layer->get());
  const auto runs_and_ends = [&] {
    if (running_threads() != 1 || apply(layer->get()) != expected) return false;
    // The child process starts its own threads.
    if (SL_OWNS_THREADS && running_threads() != 4) return false;
    layer.reset();
    return true;
  };
  CHECK(holds_in_child(runs_and_ends));
  CHECK(holds_in_child([&] {
    layer.reset();
    return true;
  }));
  // A grandchild works too, whether or not its parent has run the layer.
  CHECK(holds_in_child([&] { return holds_in_child(runs_and_ends) && runs_and_ends(); }));
  CHECK(holds_in_child(
      [&] { return apply(layer->get()) == expected && holds_in_child(runs_and_ends); }));
  CHECK(apply(layer->get()) == expected);
}

TEST_CASE("fault 5: states and new layers work after a fork", "[f05]") {
  const Layer layer = make_threaded(4);
  const std::vector<float> expected = apply(layer.get());
  CHECK(holds_in_child([&] {
    sl_state_options options = SL_STATE_OPTIONS_INIT;
    options.input.rank = 1;
    options.input.dims[0] = kChannels;
    sl_state* state = nullptr;
    if (sl_state_alloc(layer.get(), &options, &state, nullptr) != SL_STATUS_OK) return false;
    sl_state_free(state);
    return apply(make_threaded(3).get()) == apply(make_threaded(3).get());
  }));
}

#ifndef SL_SANITIZE_THREAD  // ThreadSanitizer ends a child process that starts threads
TEST_CASE("fault 5: several threads of a child use the layer", "[f05]") {
  std::optional<Layer> layer = make_threaded(3);
  const std::vector<float> expected = apply(layer->get());
  CHECK(holds_in_child([&] {
    std::atomic<int> good = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] { good += apply(layer->get()) == expected ? 1 : 0; });
    for (std::thread& thread : threads) thread.join();
    layer.reset();
    return good == 4;
  }));
}
#endif

#ifndef SL_SANITIZE_ADDRESS  // the other thread may have locked the sanitizer's heap at the fork
TEST_CASE("fault 5: a fork while another thread runs the layer", "[f05]") {
  std::optional<Layer> layer = make_threaded(4);
  const std::vector<float> expected = apply(layer->get());
  std::atomic<bool> stop = false;
  std::atomic<int64_t> wrong = 0;
  std::thread other([&] {
    while (!stop) wrong += apply(layer->get()) == expected ? 0 : 1;
  });
  for (int i = 0; i < 20; ++i) {
    CHECK(holds_in_child([&] {
      const bool good = apply(layer->get()) == expected;
      layer.reset();
      return good;
    }));
  }
  stop = true;
  other.join();
  CHECK(wrong == 0);
}
#endif

}  // namespace
}  // namespace sl::testing
