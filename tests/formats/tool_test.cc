// Tests sl pack, sl compare and --weight-format.
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "faults/faults.h"
#include "support/models.h"
#include "testing/model.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

constexpr const char* kConfig =
    R"({"type":"Serial","layers":[{"type":"Dense","features":48,"name":"first"},)"
    R"({"type":"Residual","layers":[{"type":"LSTM","units":48},{"type":"Dense","features":48}]},)"
    R"({"type":"Dense","features":40,"name":"logits"}]})";

// A model directory whose inputs have 40 channels.
std::string model_directory() {
  const std::string directory = scratch_directory();
  std::mt19937 rng(3);
  WeightHint hint;
  hint.any = 40;
  write_model(directory, kConfig,
              make_weights(kConfig,
                           {{"", hint},
                            {"layers_0", {48, {}, {}}},
                            {"kernel", {48, {}, {}}},
                            {"layers_1", {48, {}, {}}},
                            {"logits", {48, {}, {}}}},
                           rng));
  return directory;
}

json compared(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {"compare"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  all.insert(all.end(), {"--json", "--input", "40", "--steps", "50", "--logits"});
  const ToolRun run = run_tool(all);
  INFO(run.output);
  REQUIRE(run.status == 0);
  return json::parse(run.output);
}

TEST_CASE("sl pack writes a model that works like the original", "[pack]") {
  const std::string model = model_directory(), out = scratch_directory() + "/packed";
  const ToolRun packed = run_tool({"pack", model, "--format", "bfloat16", "--out", out});
  INFO(packed.output);
  REQUIRE(packed.status == 0);
  CHECK(read_file(out + "/config.json") == read_file(model + "/config.json"));
  const ToolRun verified = run_tool({"verify", out, "--input", "40"});
  INFO(verified.output);
  CHECK(verified.status == 0);
  // The formats that were asked for, and no others, from the file.
  const json same = compared({model, out});
  const json direct = compared({model, "--weight-format", "bfloat16"});
  CHECK(same == direct);
  CHECK(compared({out, out})["output"]["snr_db"].is_null());  // no noise
  const ToolRun info = run_tool({"info", out, "--input", "40"});
  CHECK_THAT(info.output, Contains("bfloat16"));
  CHECK_THAT(run_tool({"info", out, "--weight-format", "int8"}).output,
             Contains("stored packed as bfloat16"));
}

// Writes float32 values [time, 40] as .npy.
std::string random_npy(int64_t time) {
  std::string header =
      "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(time) + ", 40), }";
  header.resize(117, ' ');
  header += '\n';
  const std::string path = scratch_directory() + "/x.npy";
  std::ofstream file(path, std::ios::binary);
  file.write("\x93NUMPY\x01\x00\x76\x00", 10);
  file << header;
  std::mt19937 rng(4);
  const Tensor x = random_sequence(SL_DTYPE_FLOAT32, {1, time, 40}, rng);
  file.write(reinterpret_cast<const char*>(x.bytes.data()),
             static_cast<std::streamsize>(x.bytes.size()));
  return path;
}

TEST_CASE("sl pack keeps matrices in float32 until the output reaches an aim", "[pack]") {
  const std::string model = model_directory(), data = random_npy(50);
  const std::string directory = scratch_directory();
  const auto pack = [&](const char* aim) {
    const ToolRun run = run_tool({"pack", model, "--format", "int4", "--out", directory + aim,
                                  "--calibrate", data, "--aim", aim, "--input", "40"});
    INFO(run.output);
    REQUIRE(run.status == 0);
    return run.output;
  };
  const auto ratio = [&](const char* aim) {
    const json found = compared({model, directory + aim, "--data", data});
    return found.at("output").at("snr_db").get<double>();
  };
  CHECK_THAT(pack("1"), !Contains("float32: "));
  CHECK(ratio("1") < 25);
  const std::string kept = pack("28");
  CHECK_THAT(kept, Contains("float32: params.") && Contains(" dB)"));
  CHECK(ratio("28") >= 28);
  CHECK_THAT(run_tool({"info", directory + "28", "--input", "40"}).output,
             Contains("float32") && Contains("int4"));
}

TEST_CASE("sl pack rounds for the data that it is given", "[pack]") {
  const std::string model = model_directory(), data = random_npy(50);
  const std::string directory = scratch_directory();
  const auto pack = [&](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"pack", model,   "--format",
                                          "int4", "--out", directory + name};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ToolRun run = run_tool(arguments);
    INFO(run.output);
    REQUIRE(run.status == 0);
    return run.output;
  };
  const auto weights = [&](const std::string& name) {
    return read_file(directory + name + "/model.safetensors");
  };
  const std::vector<std::string> any = {"--calibrate", data, "--aim", "0", "--input", "40"};
  std::vector<std::string> nearest = any;
  nearest.insert(nearest.end(), {"--rounding", "nearest"});
  pack("plain", {});
  pack("nearest", nearest);
  pack("feedback", any);
  CHECK(weights("nearest") == weights("plain"));
  CHECK(weights("feedback") != weights("plain"));
  const auto ratio = [&](const std::string& name) {
    return compared({model, directory + name, "--data", data})["output"]["snr_db"].get<double>();
  };
  CHECK(ratio("feedback") > ratio("plain") + 1);
  CHECK_THAT(
      pack("kept", {"--calibrate", data, "--aim", "28", "--keep", "bfloat16", "--input", "40"}),
      Contains("bfloat16: params."));
  CHECK(ratio("kept") >= 28);
  CHECK_THAT(run_tool({"info", directory + "kept", "--input", "40"}).output,
             Contains("weights          bfloat16") && Contains("weights          int4"));
}

TEST_CASE("sl pack refuses to replace the model itself", "[pack]") {
  const std::string model = model_directory();
  const std::string before = read_file(model + "/model.safetensors");
  const ToolRun run = run_tool({"pack", model, "--out", model});
  CHECK(run.status == 2);
  CHECK_THAT(run.output, Contains("is the model itself"));
  CHECK(read_file(model + "/model.safetensors") == before);
}

TEST_CASE("sl compare measures every layer, the output, logits and drift", "[compare]") {
  const std::string model = model_directory();
  const json found = compared({model, "--weight-format", "bfloat16"});
  std::vector<std::string> names;
  for (const json& layer : found.at("layers")) {
    names.push_back(layer.at("layer"));
    const double ratio = layer.at("snr_db");
    CHECK(ratio > 40);
    CHECK(ratio < 70);
  }
  CHECK(names == std::vector<std::string>{"first", "layers_1.0.layers_0", "layers_1.0.layers_1",
                                          "layers_1", "logits"});
  CHECK(found.at("layers").back().at("snr_db") == found.at("output").at("snr_db"));
  CHECK(found.at("logits").at("top1") > 0.9);
  CHECK(found.at("logits").at("kl_nats") > 0);
  CHECK(found.at("logits").at("kl_nats") < 1e-4);
  CHECK(found.at("drift").size() == 10);
  CHECK(found.at("drift").back().at("first_step") == 45);
  // Only the layers behind one with other weights differ.
  const json last = compared({model, "--weight-format", "logits.kernel=bfloat16"});
  CHECK(last.at("layers").at(3).at("snr_db").is_null());
  CHECK(last.at("layers").at(4).at("snr_db") > 40);
}

TEST_CASE("sl compare refuses models that cannot be compared", "[compare]") {
  const std::string model = model_directory();
  CHECK_THAT(run_tool({"compare", model}).output, Contains("give a second model"));
  const std::string other = scratch_directory();
  std::ofstream(other + "/config.json") << R"({"type":"Relu"})";
  CHECK_THAT(run_tool({"compare", model, other}).output, Contains("different configs"));
}

}  // namespace
}  // namespace sl::testing
