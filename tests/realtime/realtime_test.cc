// Checks that no step allocates or locks, from the first one on, and that the trap would detect it.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "contract/trees.h"
#include "support/models.h"
#include "testing/contract_slots.h"
#include "testing/runner.h"
#include "testing/trap.h"

namespace sl::testing {
namespace {

// Prevents the compiler from removing calls whose result is not used.
void* volatile kept;

template <typename Fn>
int64_t count_of(Fn&& fn) {
  AllocationTrap trap;
  fn();
  return trap.count();
}

TEST_CASE("the trap notices heap calls and locks", "[trap]") {
  if (!AllocationTrap::available()) {
    // If a sanitizer replaces the heap functions, the trap must count nothing.
    CHECK(count_of([] { kept = std::malloc(8); }) == 0);
    std::free(kept);
    return;
  }
  CHECK(count_of([] {}) == 0);
  CHECK(count_of([] { kept = std::malloc(8); }) == 1);
  CHECK(count_of([] { kept = std::realloc(kept, 1000); }) == 1);
  CHECK(count_of([] { std::free(kept); }) == 1);
  CHECK(count_of([] { kept = std::calloc(2, 8); }) == 1);
  std::free(kept);
  CHECK(count_of([] { kept = std::aligned_alloc(64, 64); }) == 1);
  std::free(kept);
  CHECK(count_of([] { kept = new int64_t[3]; }) == 1);
  CHECK(count_of([] { delete[] static_cast<int64_t*>(kept); }) == 1);
  std::vector<int> grown;
  CHECK(count_of([&] { grown.resize(100); }) == 1);
  std::mutex mutex;
  CHECK(count_of([&] { const std::lock_guard lock(mutex); }) == 1);
}

TEST_CASE("the trap counts calls within the library, on its own thread only", "[trap]") {
  const Layer layer = make_model(R"({"type":"Dense","features":3})", 2);
  const Input input{make_sequence(SL_DTYPE_FLOAT32, {1, 4, 2}), {}};
  Tensor y = make_sequence(SL_DTYPE_FLOAT32, {1, 4, 3});
  const sl_sequence in = input.x.view();
  sl_sequence out = y.view();
  sl_status status = SL_STATUS_INTERNAL;
  const int64_t calls =
      count_of([&] { status = sl_layer_apply(layer.get(), &in, &out, nullptr, nullptr); });
  CHECK(status == SL_STATUS_OK);
  CHECK((calls > 0) == AllocationTrap::available());  // layer-wise runs may allocate
  std::mutex ready;
  ready.lock();
  std::thread other([&] {
    const std::lock_guard lock(ready);
    kept = std::malloc(8);
    std::free(kept);
  });
  CHECK(count_of([&] { ready.unlock(); }) == 0);
  other.join();
  CHECK(count_of([] {}) == 0);
}

// A stream of 12 steps for the sample.
Input input_of(const Sample& sample, int64_t batch) {
  std::vector<int64_t> dims = {batch, 12};
  dims.insert(dims.end(), sample.channels.begin(), sample.channels.end());
  std::mt19937 rng(5);
  return {random_sequence(sample.dtype, dims, rng), {}};
}

// Allocations in all real-time calls on a stream, from its first step on.
int64_t allocations_of(const Layer& layer, const Input& input, int64_t blocks_per_step,
                       bool with_emits) {
  Stepper::Options options;
  options.blocks_per_step = blocks_per_step;
  options.with_emits = with_emits;
  Stepper stepper(layer, input, options), fork(layer, input, options);
  stepper.run(0, stepper.num_steps());
  fork.copy_from(stepper);
  stepper.reset();
  stepper.load(fork.save());
  stepper.run(0, stepper.num_steps());
  return stepper.allocations() + fork.allocations();
}

void check(const Layer& layer, const Input& input) {
  for (const int64_t blocks : {1, 2, 7}) {
    for (const bool emits : {false, true}) {
      INFO(blocks << " blocks per step" << (emits ? ", with emits" : ""));
      CHECK(allocations_of(layer, input, blocks, emits) == 0);
    }
  }
}

TEST_CASE("steps of every kind of layer neither allocate nor lock", "[realtime]") {
  for (const Sample& sample : samples()) {
    INFO(sample.name);
    const Layer layer = make_sample(sample);
    for (const int64_t batch : {1, 3}) {
      check(layer, input_of(sample, batch));
    }
  }
}

TEST_CASE("steps with weights in fewer bytes neither allocate nor lock", "[realtime]") {
  for (const char* format : {"bfloat16", "int8", "int4"}) {
    sl_layer_options options = SL_LAYER_OPTIONS_INIT;
    options.weight_format = format;
    for (const Sample& sample : samples()) {
      INFO(format << " " << sample.name);
      const Layer layer = make_sample(sample, &options);
      const Input input = input_of(sample, 2);
      CHECK(allocations_of(layer, input, 1, false) == 0);
      CHECK(allocations_of(layer, input, 3, true) == 0);
    }
  }
}

TEST_CASE("steps, saves and moves of slots neither allocate nor lock", "[realtime]") {
  for (const char* format : {"float32", "bfloat16", "int8", "int4"}) {
    sl_layer_options layer_options = SL_LAYER_OPTIONS_INIT;
    layer_options.weight_format = format;
    for (const Sample& sample : samples()) {
      INFO(format << " " << sample.name);
      const Layer layer = make_sample(sample, &layer_options);
      const Input input = input_of(sample, 3);
      for (const bool emits : {false, true}) {
        Stepper::Options options;
        options.with_emits = emits;
        CHECK(check_slots(layer, input, options, /*garbage=*/true).reason == "");
      }
    }
  }
}

TEST_CASE("steps of random trees neither allocate nor lock", "[realtime]") {
  for (uint32_t seed = 1000; seed < 1040; ++seed) {
    const Tree tree = make_tree(seed);
    INFO("seed " << seed << ": " << tree.config);
    const Layer layer = make_tree_model(tree, seed);
    if (!layer.supports_step()) continue;
    std::mt19937 rng(seed);
    std::vector<int64_t> dims = {2, 14};
    dims.insert(dims.end(), tree.channels.begin(), tree.channels.end());
    check(layer, {random_sequence(SL_DTYPE_FLOAT32, dims, rng), {}});
  }
}

TEST_CASE("steps of large layers stay on their thread", "[realtime]") {
  // Threads are for layer-wise runs only: steps must not wake them.
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.num_threads = 2;
  for (const char* config :
       {R"({"type":"Dense","features":512})", R"({"type":"LSTM","units":128})",
        R"({"type":"Conv1D","filters":256,"kernel_size":5,"padding":"causal_valid"})"}) {
    INFO(config);
    const Layer layer = make_model(config, 256, &options);
    std::mt19937 rng(1);
    const Input input{random_sequence(SL_DTYPE_FLOAT32, {2, 64, 256}, rng), {}};
    for (const int64_t blocks : {1, 32}) {
      CHECK(allocations_of(layer, input, blocks, false) == 0);
    }
  }
}

TEST_CASE("strided blocks are stepped without allocation", "[realtime]") {
  const Layer layer = make_model(R"({"type":"LSTM","units":2})", 2);
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.batch = 2;
  options.max_steps = 3;
  options.input.rank = 1;
  options.input.dims[0] = 2;
  const State state(layer, options);
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, {2, 3, 2}), y = x;
  sl_sequence in = x.view(), out = y.view();
  for (sl_sequence* view : {&in, &out}) {  // time-major, with channels in reverse order
    view->strides[0] = 8;
    view->strides[1] = 16;
    view->strides[2] = -4;
    view->data = static_cast<uint8_t*>(view->data) + 4;
    view->mask = nullptr;
  }
  for (int i = 0; i < 3; ++i) {
    sl_status status = SL_STATUS_INTERNAL;
    CHECK(count_of([&] {
            status = sl_layer_step(layer.get(), state.get(), &in, &out, nullptr, nullptr);
          }) == 0);
    CHECK(status == SL_STATUS_OK);
  }
}

}  // namespace
}  // namespace sl::testing
