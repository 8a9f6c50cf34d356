// Tests that state is checked against its declaration, has exact initial values, and that items of
// a batch can be reset or copied alone.
#include <catch2/catch.hpp>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "core/ring.h"
#include "core/run.h"
#include "core/status.h"
#include "ops/initial_state.h"

namespace {

using namespace sl;

// The memory of a declared state, at the start of a stream.
class Memory {
 public:
  explicit Memory(const Declaration& declaration)
      : specs_(declaration.states()),
        layout_(layout_of(specs_)),
        plans_(declaration.plans()),
        bytes_(layout_.bytes) {
    for (size_t i = 0; i < specs_.size(); ++i) ops::initialise(tensors()[i], 0, specs_[i].batch());
  }
  StateTensors tensors() { return {specs_, layout_.offsets, bytes_.data()}; }
  Run run(bool checks = true) {
    Run out(Mode::kStep, workspace_, parallel_, Constants());
    out.bind_state(tensors(), plans_, checks);
    return out;
  }

 private:
  std::vector<StateSpec> specs_;
  StateLayout layout_;
  std::vector<StepPlan> plans_;
  std::vector<std::byte> bytes_;
  Allocator allocator_;
  Workspace workspace_{allocator_};
  Parallel parallel_;
};

// The message of the INTERNAL error that fn throws, or "" if it throws none.
template <typename Fn>
std::string defect(Fn&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    CHECK(error.code() == Code::kInternal);
    return error.what();
  }
  return "";
}

Declaration carry() {
  Declaration declaration{Constants()};
  declaration.within("lstm", "", [&] {
    declaration.state("c", DType::kFloat32, {2, 3});
    declaration.state("h", DType::kFloat32, {2, 3});
  });
  return declaration;
}

TEST_CASE("a step that takes state in another order than declared is an error", "[state]") {
  Memory memory(carry());
  Run run = memory.run();
  CHECK_THAT(defect([&] { run.state<float>("h"); }),
             Catch::Contains("\"h\"") && Catch::Contains("\"lstm.c\""));
  CHECK(defect([&] { run.state<float>("c"); }) == "");
  CHECK_THAT(defect([&] { run.state<int32_t>("h"); }), Catch::Contains("another dtype"));
}

TEST_CASE("a step that takes less or more state than declared is an error", "[state]") {
  Memory memory(carry());
  Run run = memory.run();
  run.state<float>("c");
  CHECK_THAT(defect([&] { run.check_all_used(); }), Catch::Contains("1 tensors of state"));
  run.state<float>("h");
  CHECK(defect([&] { run.check_all_used(); }) == "");
  CHECK_THAT(defect([&] { run.state<float>("c"); }), Catch::Contains("more than the 2"));
}

TEST_CASE("a step that takes another layer's plan is an error", "[state]") {
  Declaration declaration{Constants()};
  declaration.plan(std::make_shared<const int>(7));
  Memory memory(declaration);
  CHECK(memory.run().plan<int>() == 7);
  CHECK_THAT(defect([&] { memory.run().plan<float>(); }), Catch::Contains("another layer"));
}

TEST_CASE("state begins with exact values of any dtype", "[state]") {
  constexpr int32_t kLarge = (1 << 24) + 1;  // not exact in float32
  Declaration declaration{Constants()};
  declaration.index("count", {2}, 0, kLarge, kLarge);
  declaration.state("lowest", DType::kBFloat16, {2, 3}, -std::numeric_limits<double>::infinity());
  declaration.state("one", DType::kComplex64, {2}, 1);
  Memory memory(declaration);
  Run run = memory.run();
  const auto count = run.state<int32_t>("count");
  const auto values = run.state<std::byte>("lowest");
  const auto* lowest = reinterpret_cast<uint16_t*>(values.get());
  const auto one = run.state<complex64>("one");
  for (int i = 0; i < 2; ++i) {
    CHECK(count[i] == kLarge);
    CHECK(one[i] == complex64(1));
  }
  for (int i = 0; i < 6; ++i) CHECK(lowest[i] == 0xff80);
}

TEST_CASE("a run has the state of its slots, and gives it back", "[state]") {
  Declaration declaration{Constants()};
  declaration.state("pair", DType::kFloat32, {4, 2});
  Memory memory(declaration);
  const auto all = [&] {
    Run run = memory.run();
    const auto values = run.state<float>("pair");
    return std::vector<float>(values.get(), values.get() + 8);
  };
  const auto add = [&](const std::vector<int64_t>& slots, float first) {
    Run run = memory.run();
    run.bind_slots(slots_of(slots));
    const auto values = run.state<float>("pair");
    for (size_t i = 0; i < 2 * slots.size(); ++i) values[i] += first++;
  };
  add({0, 1, 2, 3}, 1);
  CHECK(all() == std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8});
  add({3, 1}, 10);
  CHECK(all() == std::vector<float>{1, 2, 15, 17, 5, 6, 17, 19});
  add({2, 3}, 100);  // neighbours
  CHECK(all() == std::vector<float>{1, 2, 15, 17, 105, 107, 119, 122});
}

TEST_CASE("streams longer than the range of an index are refused", "[state]") {
  Declaration declaration{Constants()};
  declaration.position("length", 1, 0, std::numeric_limits<int32_t>::max());
  CHECK_THROWS_AS(declaration.position("length", 1, 0, int64_t{1} << 31), Error);
}

// A ring with one float per frame, to which numbers are pushed.
struct Numbers {
  RingSpec spec{{DType::kFloat32, {}}, 3};
  Declaration declaration{Constants()};
  std::unique_ptr<Memory> memory;

  explicit Numbers(int64_t max_steps) {
    Ring::declare(declaration, spec, 2, max_steps);
    memory = std::make_unique<Memory>(declaration);
  }
  // Pushes one frame for each of two items, and returns the history of both, newest last.
  std::vector<float> push(float first, float second, std::vector<int64_t> slots = {0, 1}) {
    Run run = memory->run();
    run.bind_slots(slots_of(slots));
    Ring ring(run, spec);
    std::memcpy(ring.incoming(0), &first, sizeof(first));
    std::memcpy(ring.incoming(1), &second, sizeof(second));
    *ring.incoming_mask(0) = *ring.incoming_mask(1) = 1;
    ring.push(2, 1);
    std::vector<float> out(8);
    for (int64_t b = 0; b < 2; ++b)
      std::memcpy(&out[static_cast<size_t>(4 * b)], ring.newest(b, 4), 4 * sizeof(float));
    return out;
  }
};

TEST_CASE("one item of a ring can be reset alone", "[state]") {
  Numbers numbers(1);
  for (float i = 1; i <= 5; ++i) numbers.push(i, 10 * i);
  const StateTensors tensors = numbers.memory->tensors();
  for (size_t i = 0; i < tensors.size(); ++i) ops::initialise(tensors[i], 1, 1);
  CHECK(numbers.push(6, 60) == std::vector<float>{3, 4, 5, 6, 0, 0, 0, 60});
  CHECK(numbers.push(7, 70) == std::vector<float>{4, 5, 6, 7, 0, 0, 60, 70});
}

TEST_CASE("items of a ring are those of the slots", "[state]") {
  Numbers numbers(1);
  for (float i = 1; i <= 5; ++i) numbers.push(i, 10 * i);
  CHECK(numbers.push(60, 6, {1, 0}) == std::vector<float>{30, 40, 50, 60, 3, 4, 5, 6});
  CHECK(numbers.push(7, 70) == std::vector<float>{4, 5, 6, 7, 40, 50, 60, 70});
}

TEST_CASE("an item can be copied to another ring, also of another size", "[state]") {
  for (const int64_t max_steps : {1, 5}) {
    Numbers from(1), to(max_steps);
    for (float i = 1; i <= 6; ++i) from.push(i, 10 * i);
    for (float i = 1; i <= 2; ++i) to.push(-i, -10 * i);
    Ring::copy_item(to.memory->tensors(), 0, from.memory->tensors(), 1);
    CHECK(to.push(7, -30) == std::vector<float>{40, 50, 60, 7, 0, -10, -20, -30});
    CHECK(to.push(8, -40) == std::vector<float>{50, 60, 7, 8, -10, -20, -30, -40});
  }
}

TEST_CASE("a ring in use goes on from the history of another one", "[state]") {
  const auto newest = [](float last) {
    return std::vector<float>{last - 3, last - 2, last - 1, last};
  };
  for (const int64_t max_steps : {1, 2, 5}) {
    for (int pushed = 4; pushed < 16; ++pushed) {
      INFO(pushed << " frames, then calls of at most " << max_steps);
      Numbers from(2), to(max_steps), third(3);
      float last = 0;
      for (int i = 0; i < pushed; ++i) from.push(-1, ++last);
      for (Numbers* numbers : {&to, &third}) {
        const StateTensor values = numbers->memory->tensors()[0];
        std::fill_n(reinterpret_cast<float*>(values.data), values.spec.shape.size(), 777.0f);
      }
      Ring::copy_history(to.memory->tensors(), 0, from.memory->tensors(), 1);
      // On the way it is copied again, wherever in its lap it is.
      for (int i = 0; i < 20; ++i, ++last) {
        Ring::copy_history(third.memory->tensors(), 1, to.memory->tensors(), 0);
        const std::vector<float> all = third.push(0, last + 1);
        CHECK(std::vector<float>(all.begin() + 4, all.end()) == newest(last + 1));
        const std::vector<float> own = to.push(last + 1, 0);
        CHECK(std::vector<float>(own.begin(), own.begin() + 4) == newest(last + 1));
      }
    }
  }
}

}  // namespace
