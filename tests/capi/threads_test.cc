// Tests the use of one layer by many threads.
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

constexpr int kThreads = 4;
constexpr const char* kConfig =
    R"({"type":"Residual","layers":[{"type":"Conv1D","filters":6,"kernel_size":3,)"
    R"("padding":"causal_valid"},{"type":"LSTM","units":6},{"type":"Gelu"}]})";

Input input_of(uint32_t seed) {
  std::mt19937 rng(seed);
  return {random_sequence(SL_DTYPE_FLOAT32, {1, 24, 6}, rng), {}};
}

// Runs fn(thread) on each thread. Its result is the number of failures.
template <typename Fn>
int64_t run_on_threads(Fn&& fn) {
  std::atomic<int64_t> failed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&, i] { failed += fn(i); });
  for (std::thread& thread : threads) thread.join();
  return failed;
}

TEST_CASE("a hundred streams of one layer, stepped from four threads", "[threads]") {
  const Layer layer = make_model(kConfig, 6);
  constexpr int kStreams = 100;
  std::vector<std::unique_ptr<Stepper>> streams;
  std::vector<Tensor> wanted;
  for (int i = 0; i < kStreams; ++i) {
    const Input input = input_of(static_cast<uint32_t>(i));
    wanted.push_back(apply(layer, input));
    streams.push_back(std::make_unique<Stepper>(layer, input));
  }
  const int64_t failed = run_on_threads([&](int thread) {
    // Each thread steps its streams in turn, so that they are at different positions.
    std::vector<std::vector<Tensor>> outputs(kStreams);
    for (int64_t t = 0; t < 24; ++t) {
      for (size_t i = static_cast<size_t>(thread); i < kStreams; i += kThreads) {
        outputs[i].push_back(streams[i]->run(t, t + 1));
      }
    }
    int64_t wrong = 0;
    for (size_t i = static_cast<size_t>(thread); i < kStreams; i += kThreads) {
      wrong += !compare_sequences(concat_time(outputs[i]), wanted[i], {}).ok();
    }
    return wrong;
  });
  CHECK(failed == 0);
}

TEST_CASE("a stream may move from thread to thread", "[threads]") {
  const Layer layer = make_model(kConfig, 6);
  const Input input = input_of(1);
  const Tensor want = Stepper(layer, input).run(0, 24);
  Stepper stepper(layer, input);
  std::vector<Tensor> got;
  for (int64_t t = 0; t < 24; t += 4) {
    std::thread([&] { got.push_back(stepper.run(t, t + 4)); }).join();
  }
  CHECK(compare_bits(concat_time(got), want).reason == "");
}

TEST_CASE("four threads apply one layer at once", "[threads]") {
  for (const int32_t num_threads : {1, 2}) {
    sl_layer_options options = SL_LAYER_OPTIONS_INIT;
    options.num_threads = num_threads;
    const Layer layer = make_model(kConfig, 6, &options);
    std::vector<Tensor> wanted;
    for (int i = 0; i < kThreads; ++i) {
      wanted.push_back(apply(layer, input_of(static_cast<uint32_t>(i))));
    }
    const int64_t failed = run_on_threads([&](int thread) {
      const Input input = input_of(static_cast<uint32_t>(thread));
      int64_t wrong = 0;
      for (int run = 0; run < 20; ++run) {
        const Tensor y = apply(layer, input);
        wrong += !compare_bits(y, wanted[static_cast<size_t>(thread)]).ok();
      }
      return wrong;
    });
    CHECK(failed == 0);
  }
}

TEST_CASE("runs of different lengths at once keep apart", "[threads]") {
  const std::string config =
      R"({"type":"Serial","layers":[)"
      R"({"type":"Conv1D","filters":64,"kernel_size":5,"padding":"causal"},)"
      R"({"type":"Residual","layers":[{"type":"Conv1D","filters":64,"kernel_size":3,)"
      R"("padding":"causal"}]}]})";
  const Layer layer = make_model(config, 64);
  // More threads than there are runs for which a layer keeps memory.
  constexpr size_t kRunners = 20;
  std::vector<Input> inputs;
  std::vector<Tensor> wanted;
  for (size_t i = 0; i < kRunners; ++i) {
    std::mt19937 rng(static_cast<uint32_t>(i));
    const auto time = static_cast<int64_t>(50 + i * i * 20);
    inputs.push_back({random_sequence(SL_DTYPE_FLOAT32, {1, time, 64}, rng), {}});
    wanted.push_back(apply(make_model(config, 64), inputs.back()));
  }
  std::atomic<int64_t> wrong{0};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kRunners; ++i) {
    threads.emplace_back([&, i] {
      for (size_t run = 0; run < 10; ++run) {
        const size_t at = (i + run * 7) % kRunners;
        wrong += !compare_bits(apply(layer, inputs[at]), wanted[at]).ok();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("threads share long recurrences with the carry of every step", "[threads]") {
  for (const char* config :
       {R"({"type":"LSTM","units":256,"return_carry":true})",
        R"({"type":"RNN","cell":{"type":"GRUCell","features":256},"return_carry":true})",
        R"({"type":"RNN","cell":{"type":"LSTMCell","features":256},"return_carry":true})"}) {
    INFO(config);
    std::mt19937 rng(3);
    Input input{random_sequence(SL_DTYPE_FLOAT32, {3, 500, 64}, rng), {}};
    // Items of different lengths, with holes.
    for (size_t i = 0; i < input.x.mask.size(); ++i)
      input.x.mask[i] = i % 500 < 480 - i / 500 * 100 && i % 37 != 3;
    const auto run = [&](int32_t threads) {
      sl_layer_options options = SL_LAYER_OPTIONS_INIT;
      options.num_threads = threads;
      options.matmul_backend = SL_MATMUL_BACKEND_OWN;
      const Layer layer = make_model(config, 64, &options);
      std::vector<NamedTensor> made;
      const Tensor y = apply(layer, input, &made);
      made.push_back({"y", y});
      return made;
    };
    const std::vector<NamedTensor> want = run(1);
    for (const int32_t threads : {2, 4}) {
      const std::vector<NamedTensor> got = run(threads);
      REQUIRE(got.size() == want.size());
      for (size_t i = 0; i < want.size(); ++i) {
        INFO(threads << " threads, " << want[i].name);
        CHECK(compare_bits(got[i].value, want[i].value).reason == "");
      }
    }
  }
}

TEST_CASE("threads share the rows of a batch where a recurrence is small", "[threads]") {
  for (const char* config : {R"({"type":"LSTM","units":24})",
                             R"({"type":"RNN","cell":{"type":"GRUCell","features":64}})",
                             R"({"type":"RNN","cell":{"type":"LSTMCell","features":64}})"}) {
    INFO(config);
    for (const bool holes : {false, true}) {
      std::mt19937 rng(4);
      Input input{random_sequence(SL_DTYPE_FLOAT32, {17, 300, 64}, rng), {}};
      for (size_t i = 0; i < input.x.mask.size(); ++i) input.x.mask[i] = !holes || i % 41 != 5;
      const auto run = [&](int32_t threads) {
        sl_layer_options options = SL_LAYER_OPTIONS_INIT;
        options.num_threads = threads;
        return apply(make_model(config, 64, &options), input);
      };
      const Tensor want = run(1);
      for (const int32_t threads : {2, 3}) CHECK(compare_bits(run(threads), want).reason == "");
    }
  }
}

TEST_CASE("layers and states can be created and freed on any thread", "[threads]") {
  const Layer shared = make_model(kConfig, 6);
  const int64_t failed = run_on_threads([&](int thread) {
    int64_t wrong = 0;
    for (int run = 0; run < 5; ++run) {
      const Input input = input_of(static_cast<uint32_t>(thread));
      const Layer own = make_model(kConfig, 6);
      const Tensor a = Stepper(own, input).run_all();
      const Tensor b = Stepper(shared, input).run_all();
      wrong += !compare_bits(a, b).ok();
    }
    return wrong;
  });
  CHECK(failed == 0);
}

}  // namespace
}  // namespace sl::testing
