// Fault 19: an invalid sample rate or input spec in the metadata was ignored.
#include <catch2/catch.hpp>

#include "faults/arrays.h"
#include "support/models.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

constexpr const char* kIdentity = R"({"type":"Identity","name":"i"})";

// The text as a quoted JSON string.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text)
    out += (c == '"' || c == '\\') ? std::string("\\") + c : std::string(1, c);
  return out + "\"";
}

std::string sound() { return write_file("s.wav", wav({0, 8}, {100, -200, 300, -400})); }

TEST_CASE("fault 19: invalid sample rates are errors", "[f19]") {
  for (const char* rate : {"fast", "", "0", "-16000", "inf", "nan", "1e300", "1e-300", "16 kHz",
                           "16000 ", " 16000", "0x3e80", "16000,5", "[16000]", "1e400"}) {
    const std::string model = make_model(kIdentity, "{\"sample_rate\":" + quoted(rate) + "}");
    const std::string message =
        std::string("metadata \"sample_rate\" is \"") + rate + "\": expected input steps a second";
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"run", model, sound()},
          {"run", model, fault_input("npy/x3.npy")},
          {"info", model, "--input", "3"},
          {"info", model, "--input", "3", "--json"},
          {"bench", model, "--input", "3", "--seconds", "0.01"}}) {
      const ToolRun run = run_tool(command);
      INFO(command[0] << " " << rate << ": " << run.output);
      CHECK(run.status == 1);
      CHECK_THAT(run.output, Contains(message));
    }
  }
  const ToolRun run = run_tool({"run", fault_input("models/rate_int"), sound()});
  CHECK(run.status == 1);
  CHECK_THAT(run.output, Contains("metadata \"sample_rate\": expected a string, got 16000"));
}

TEST_CASE("fault 19: valid sample rates are used", "[f19]") {
  for (const char* rate : {"16000", "16000.0", "1.6e4"}) {
    const std::string model = make_model(kIdentity, "{\"sample_rate\":" + quoted(rate) + "}");
    const ToolRun run = run_tool({"run", model, sound()});
    INFO(run.output);
    CHECK(run.status == 0);
    CHECK_THAT(run.output, Contains("at 16000 Hz"));
  }
  CHECK(run_tool({"run", fault_input("models/rate_text"), sound()}).status == 0);
  // Resampling to a rate that differs too much is an error.
  const ToolRun run = run_tool({"run", make_model(kIdentity, R"({"sample_rate":"0.5"})"), sound()});
  CHECK(run.status == 1);
  CHECK_THAT(run.output, Contains("cannot resample 16000"));
}

TEST_CASE("fault 19: invalid input specs are errors", "[f19]") {
  for (const char* input :
       {R"({"channel_shape":[3)", R"({"channel_shape":[3]} x)", R"([3])", R"({})", "", "float32[3]",
        R"({"channel_shape":3,"dtype":"float32"})", R"({"channel_shape":[-3]})",
        R"({"channel_shape":[0],"dtype":"float32"})", R"({"channel_shape":[3.0]})",
        R"({"channel_shape":["3"]})", R"({"channel_shape":[18446744073709551615]})",
        R"({"channel_shape":[4294967296,4294967296]})", R"({"channel_shape":[1,1,1,1,1,1,1,1,1]})",
        R"({"channel_shape":[3],"dtype":"float64"})", R"({"channel_shape":[3],"dtype":7})",
        R"({"channel_shape":[3],"dtype":null})", R"({"channel_shape":[3],"channel_shape":[4]})"}) {
    INFO(input);
    const std::string model = make_model(kIdentity, "{\"input\":" + quoted(input) + "}");
    const Failure failure = thrown_by([&] { Layer::open(model).input_spec(); });
    CHECK(failure.status == SL_STATUS_WEIGHTS);
    CHECK_THAT(failure.message, Contains("metadata \"input\""));
    const ToolRun run = run_tool({"run", model, sound()});
    CHECK(run.status == 1);
    CHECK_THAT(run.output, Contains("metadata \"input\""));
  }
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"run", fault_input("models/input_bad"), sound()},
        {"run", fault_input("models/input_bad"), fault_input("npy/x3.npy")},
        {"info", fault_input("models/input_bad")}}) {
    const ToolRun run = run_tool(command);
    CHECK(run.status == 1);
    CHECK_THAT(run.output, Contains("metadata \"input\": $.channel_shape[1]: not JSON"));
  }
}

TEST_CASE("fault 19: valid input specs are used", "[f19]") {
  const std::string model =
      make_model(kIdentity, "{\"input\":" + quoted(R"({"channel_shape":[3]})") + "}");
  CHECK(run_tool({"run", model, fault_input("npy/x3.npy")}).status == 0);
}

}  // namespace
}  // namespace sl::testing
