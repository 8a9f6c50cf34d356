// Fault 14: an STFT whose output does not depend on its input declared a receptive field of [inf,
// -inf], and recorded cases without steps crashed the tool.
#include <catch2/catch.hpp>
#include <fstream>

#include "faults/faults.h"
#include "faults/golden_cases.h"
#include "support/models.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

// This transform uses only the first sample of each frame, where the Hann window is zero.
const std::string kBlind =
    R"({"type":"STFT","frame_length":4,"frame_step":2,"fft_length":1,"time_padding":"causal"})";

struct Field {
  int32_t exists = 0;
  int64_t start = 0, end = 0;
};

Failure field_of(const std::string& config, Field* field) {
  const Layer layer = make_model(config);
  return failure_of([&](sl_error* e) {
    return sl_layer_receptive_field(layer.get(), &field->exists, &field->start, &field->end, e);
  });
}

// The reference raises an error for these configs too.
TEST_CASE("fault 14: an impossible receptive field is an error", "[f14]") {
  const std::string kinds[] = {
      kBlind,
      R"({"type":"Serial","layers":[)" + kBlind + "]}",
      R"({"type":"Serial","layers":[{"type":"Delay","length":1},)" + kBlind +
          R"(,{"type":"Abs"}]})",
      R"({"type":"Residual","layers":[)" + kBlind + R"(],"shortcut_layers":[)" + kBlind + "]}",
      R"({"type":"Parallel","layers":[)" + kBlind + "," + kBlind + "]}",
      R"({"type":"Bidirectional","forward":)" + kBlind + R"(,"backward":)" + kBlind + "}",
      R"({"type":"Blockwise","block_size":4,"child_layer":)" + kBlind + "}",
  };
  for (const std::string& config : kinds) {
    INFO(config);
    Field field;
    const Failure failure = field_of(config, &field);
    CHECK(failure.status == SL_STATUS_UNSUPPORTED);
    CHECK_THAT(failure.message,
               Contains("STFT \"") && Contains("[inf, -inf]") && Contains("no step of its input"));
  }
}

TEST_CASE("fault 14: possible receptive fields are still given", "[f14]") {
  Field field;
  // A layer that sees all steps has an unbounded field, whatever comes before it; the reference
  // agrees.
  REQUIRE(field_of(R"({"type":"Serial","layers":[)" + kBlind +
                       R"(,{"type":"Abs"},{"type":"GroupNormalization","num_groups":1,)"
                       R"("use_bias":false,"use_scale":false}]})",
                   &field)
              .status == SL_STATUS_OK);
  CHECK(field.exists == 1);
  CHECK(field.start == -SL_INFINITE);
  CHECK(field.end == SL_INFINITE);
  std::string two = kBlind;
  two.replace(two.find("\"fft_length\":1"), 14, "\"fft_length\":2");
  REQUIRE(field_of(two, &field).status == SL_STATUS_OK);
  CHECK(field.start == -2);
  CHECK(field.end == -2);
}

// A transposed convolution with gaps in its output, followed by a layer that sees all of the past.
TEST_CASE("fault 14: a field that begins in a gap extends to the start of the stream", "[f14]") {
  Field field;
  REQUIRE(field_of(R"({"type":"Serial","layers":[{"type":"Conv1D","filters":1,"kernel_size":2,)"
                   R"("padding":"causal"},{"type":"Conv1DTranspose","filters":1,"kernel_size":1,)"
                   R"("strides":2,"padding":"causal"},{"type":"LSTM","units":1},)"
                   R"({"type":"Delay","length":1}]})",
                   &field)
              .status == SL_STATUS_OK);
  CHECK(field.start == -SL_INFINITE);
}

TEST_CASE("fault 14: the tool works on a model without a receptive field", "[f14]") {
  const std::string directory = scratch_directory();
  std::ofstream(directory + "/config.json") << kBlind;
  const ToolRun verify = run_tool({"verify", directory, "--input", "scalar"});
  INFO(verify.output);
  CHECK(verify.status == 0);
  CHECK_THAT(verify.output, Contains("starts after it ends"));
  CHECK_THAT(run_tool({"info", directory, "--input", "scalar"}).output,
             Contains("receptive field  error: STFT"));
}

TEST_CASE("fault 14: a recorded case without steps passes", "[f14]") {
  const ToolRun run = run_tool({"golden", fault_input("golden"), "--only", "T0"});
  INFO(run.output);
  CHECK(run.status == 0);
  CHECK_THAT(run.output, Contains("1 passed, 0 failed"));
  const ToolRun prefix = run_tool({"golden", fault_input("golden"), "--only", "T0", "--prefix"});
  INFO(prefix.output);
  CHECK(prefix.status <= 1);
  const ToolRun verify =
      run_tool({"verify", fault_input("models/ident"), "--time", "0", "--input", "3"});
  INFO(verify.output);
  CHECK(verify.status == 0);
}

// Streamed constants have the length of the input.
TEST_CASE("fault 14: every recorded model keeps the contract on empty sequences", "[f14]") {
  for_each_golden_case([&](const GoldenCase& golden) {
    const Layer layer = golden.layer();
    const Case recorded = golden.check(&layer);
    Case c;
    c.layer = &layer;
    c.tolerance = recorded.tolerance;
    c.input = recorded.input;
    const int64_t time = c.input.x.time();
    c.input.x = slice_time(c.input.x, 0, 0);
    for (NamedTensor& constant : c.input.constants) {
      if (!constant.value.is_array && constant.value.time() == time)
        constant.value = slice_time(constant.value, 0, 0);
    }
    Tensor y;
    try {
      y = apply(layer, c.input);
    } catch (const Error&) {
      return;  // the layer takes a fixed number of steps, as a GlobalReshape does
    }
    c.output = fill_invalid(y, 0);
    INFO(golden.name);
    CHECK(check_contract(c).failures() == "");
  });
}

Tensor without(const Tensor& x, size_t axis) {
  std::vector<int64_t> dims = x.dims;
  dims[axis] = 0;
  return x.is_array ? make_array(x.dtype, dims) : make_sequence(x.dtype, dims);
}

// Runs the layer layer-wise and in steps; errors are allowed, crashes are not.
void try_runs(const Layer& layer, const Input& input) {
  try {
    apply(layer, input);
  } catch (const Error&) {
  }
  try {
    Stepper stepper(layer, input);
    stepper.run_all();
    stepper.prefill(1);
  } catch (const Error&) {
  }
}

TEST_CASE("fault 14: empty batches, channels and constants do not crash", "[f14]") {
  int64_t cases = 0;
  for_each_golden_case([&](const GoldenCase& golden) {
    const Layer layer = golden.layer();
    const Input recorded = golden.check(&layer).input;
    INFO(golden.name);
    for (size_t axis = 0; axis < recorded.x.dims.size(); ++axis) {
      Input input = recorded;
      input.x = without(input.x, axis);
      CHECK_NOTHROW(try_runs(layer, input));
      for (NamedTensor& constant : input.constants) {
        if (axis < constant.value.dims.size()) constant.value = without(constant.value, axis);
      }
      CHECK_NOTHROW(try_runs(layer, input));
      input.x = recorded.x;
      CHECK_NOTHROW(try_runs(layer, input));
    }
    ++cases;
  });
  CHECK(cases > 1000);
}

}  // namespace
}  // namespace sl::testing
