// Fault 23: if the blocks of a stream did not divide the input, the output also had the steps of
// the padding.
#include <catch2/catch.hpp>

#include "cli/npy.h"
#include "faults/arrays.h"

namespace sl::testing {
namespace {

std::string input_of(int64_t steps) {
  std::vector<float> values;
  for (int64_t i = 0; i < steps; ++i) values.push_back(static_cast<float>(i % 13) - 6);
  return write_file("x.npy", npy("<f4", "(" + std::to_string(steps) + ", 1)", bytes_of(values)));
}

Tensor run_model(const std::string& model, const std::string& input,
                 const std::vector<std::string>& more) {
  const std::string out = scratch_directory() + "/o.npy";
  std::vector<std::string> command = {"run", model, input, "--input", "1", "--output", out};
  command.insert(command.end(), more.begin(), more.end());
  const ToolRun run = run_tool(command);
  INFO(run.output);
  REQUIRE(run.status == 0);
  return cli::read_npy(out);
}

TEST_CASE("fault 23: a stream gives as many steps as a whole run", "[f23]") {
  const std::pair<const char*, int64_t> models[] = {
      {R"({"type":"Identity"})", 101},
      {R"({"type":"Delay","length":3})", 104},
      {R"({"type":"Lookahead","length":5})", 96},
      // Layers that give fewer steps or more steps than their input, and one with latency.
      {R"({"type":"Downsample1D","rate":4})", 26},
      {R"({"type":"Upsample1D","rate":3})", 303},
      {R"({"type":"Serial","layers":[{"type":"Lookahead","length":2},{"type":"Upsample1D","rate":2}]})",
       198},
      {R"({"type":"MaxPooling1D","pool_size":4,"strides":2,"padding":"causal"})", 51},
      {R"({"type":"MaxPooling1D","pool_size":4,"strides":2,"padding":"reverse_causal"})", 51},
  };
  const std::string input = input_of(101);
  for (const auto& [config, steps] : models) {
    const std::string model = make_model(config, "");
    const Tensor whole = run_model(model, input, {});
    CHECK(whole.dims[0] == steps);
    for (const char* block : {"1", "7", "50", "101", "102", "1000", "1000000000000"}) {
      INFO(config << " in blocks of " << block);
      const Tensor stream = run_model(model, input, {"--stream", "--block", block});
      CHECK(stream.dims == whole.dims);
      CHECK(stream.bytes == whole.bytes);
    }
  }
}

TEST_CASE("fault 23: an input can be shorter than the model's block", "[f23]") {
  const std::string model = make_model(R"({"type":"Downsample1D","rate":8})", "");
  const std::string input = input_of(3);
  const Tensor whole = run_model(model, input, {});
  const Tensor stream = run_model(model, input, {"--stream", "--block", "2"});
  CHECK(stream.dims == whole.dims);
  CHECK(stream.bytes == whole.bytes);
}

}  // namespace
}  // namespace sl::testing
