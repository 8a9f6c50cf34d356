// Tests the boundary at which layers are called: errors name the layer, once, and outputs that
// differ from the announced spec are detected.
#include "layers/layer.h"

#include <catch2/catch.hpp>
#include <functional>

namespace sl {
namespace {

using Catch::Matchers::Equals;

// Passes its input on, or breaks its promises or fails as told.
class Scripted final : public Layer {
 public:
  explicit Scripted(const char* name) { identify("Scripted", name, nullptr, 0); }

  Ratio output_ratio() const override { return ratio; }

  std::function<void(Sequence&)> change = [](Sequence&) {};
  std::function<void()> failure = [] {};
  Ratio ratio;
  mutable int specs = 0;

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    ++specs;
    failure();
    return input;
  }
  int64_t do_output_length(int64_t time, const ChannelSpec&, const Constants&) const override {
    failure();
    return time;
  }
  int64_t do_accumulated_output_latency(int64_t) const override {
    failure();
    return 0;
  }
  void do_declare(Declaration&, const SequenceSpec&) const override { failure(); }
  bool do_overwrite(Run&, const Sequence&) const override {
    failure();
    return false;
  }
  Sequence do_layer(Run&, const Sequence& x) const override {
    failure();
    Sequence y = x;
    change(y);
    return y;
  }
  Sequence do_step(Run& run, const Sequence& x) const override { return do_layer(run, x); }
};

struct Fixture {
  explicit Fixture(Mode mode = Mode::kLayer) : run(mode, workspace, parallel, Constants()) {
    x.channels = {2};
    x.batch = 1;
    x.time = 4;
    x.values = reinterpret_cast<std::byte*>(values);
    x.mask = mask;
  }
  Allocator allocator;
  Workspace workspace{allocator};
  Parallel parallel;
  Run run;
  float values[16] = {};
  uint8_t mask[8] = {};
  Sequence x;
};

// The message of the error that fn throws, or "no error".
template <typename Fn>
std::string message_of(Fn&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_CASE("errors of every function get the layer's type and name", "[boundary]") {
  Fixture f;
  Scripted layer("one");
  layer.failure = [] { fail(Code::kShape, "as told"); };
  Declaration declaration{Constants()};
  const SequenceSpec spec{{DType::kFloat32, {2}}, 1, 4};
  const std::function<void()> calls[] = {
      [&] { layer.output_spec(spec.channels, {}); },
      [&] { layer.output_length(4, spec.channels, {}); },
      [&] { layer.output(spec, {}); },
      [&] { layer.accumulated_output_latency(0); },
      [&] { layer.declare(declaration, spec); },
      [&] { layer.overwrite(f.run, f.x); },
      [&] { layer.layer(f.run, f.x); },
      [&] { layer.step(f.run, f.x); },
      [&] { call(f.run, layer, f.x, Side::kA); },
  };
  for (const auto& call : calls) CHECK_THAT(message_of(call), Equals("Scripted \"one\": as told"));
}

TEST_CASE("an error names only the innermost layer", "[boundary]") {
  Fixture f;
  Scripted inner("inner"), outer("outer");
  outer.failure = [&] { inner.layer(f.run, f.x); };
  inner.failure = [] { fail(Code::kShape, "as told"); };
  CHECK_THAT(message_of([&] { outer.layer(f.run, f.x); }), Equals("Scripted \"inner\": as told"));
}

TEST_CASE("an error with a layer's name keeps its class and code", "[boundary]") {
  Scripted layer("one");
  layer.failure = [] { throw SizeError(Code::kOutOfMemory, "too much"); };
  try {
    layer.output_spec({}, {});
    FAIL("no error");
  } catch (const SizeError& error) {
    CHECK(error.code() == Code::kOutOfMemory);
    CHECK_THAT(error.what(), Equals("Scripted \"one\": too much"));
  }
}

TEST_CASE("a layer that has no type yet adds no prefix to errors", "[boundary]") {
  Scripted layer("");
  layer.identify("", "", nullptr, 0);
  layer.failure = [] { fail(Code::kShape, "as told"); };
  CHECK_THAT(message_of([&] { layer.output_spec({}, {}); }), Equals("as told"));
}

TEST_CASE("outputs are checked against what the layer announced", "[boundary]") {
  const Mode mode = GENERATE(Mode::kLayer, Mode::kStep);
  Fixture f(mode);
  f.run.allow_allocation();
  Scripted layer("one");
  CHECK_NOTHROW(layer.check_output(f.run, f.x, f.x));
  const std::pair<const char*, std::function<void(Sequence&)>> lies[] = {
      {"made 4 steps of int32[2] for a batch of 1: announced 4 of float32[2] for 1",
       [](Sequence& y) { y.dtype = DType::kInt32; }},
      {"made 4 steps of float32[1] for a batch of 1: announced 4 of float32[2] for 1",
       [](Sequence& y) { y.channels = {1}; }},
      {"made 4 steps of float32[2] for a batch of 2: announced 4 of float32[2] for 1",
       [](Sequence& y) { y.batch = 2; }},
      {"made 3 steps of float32[2] for a batch of 1: announced 4 of float32[2] for 1",
       [](Sequence& y) { y.time = 3; }},
      {"made a sequence without values or mask", [](Sequence& y) { y.mask = nullptr; }},
      {"made a sequence without values or mask", [](Sequence& y) { y.values = nullptr; }},
  };
  for (const auto& [message, lie] : lies) {
    Sequence y = f.x;
    lie(y);
    CHECK_THAT(message_of([&] { layer.check_output(f.run, f.x, y); }), Equals(message));
    layer.change = lie;
    const std::string told = message_of([&] { call(f.run, layer, f.x, Side::kA); });
#ifdef NDEBUG
    CHECK(told == "no error");  // release builds trust the layer
#else
    CHECK(told == std::string("Scripted \"one\": ") + message);
#endif
  }
}

TEST_CASE("checks in steps of a stream do not compute a spec, which could allocate", "[boundary]") {
  Fixture f(Mode::kStep);
  Scripted layer("one");
  layer.ratio = Ratio(1, 2);
  Sequence y = f.x;
  CHECK(message_of([&] { layer.check_output(f.run, f.x, y); }) ==
        "made 4 steps of float32[2] for a batch of 1: announced 2 of float32[2] for 1");
  y.time = 2;
  CHECK_NOTHROW(layer.check_output(f.run, f.x, y));
  CHECK(layer.specs == 0);
}

}  // namespace
}  // namespace sl
