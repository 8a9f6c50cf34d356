// Fault 27: the program in the README ended with status 0 after a step that failed.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "faults/faults.h"
#include "faults/programs.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

std::string text_of(const char* path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// The program in the comment at the start of the header.
std::string header_program() {
  std::istringstream header(text_of(SL_INCLUDE "/sequence_layers/sequence_layers.h"));
  const std::string indent = " *   ";
  std::string program, line;
  while (std::getline(header, line) && line != " */") {
    const bool begins = program.empty() && line.starts_with(indent + "#include");
    const bool continues = !program.empty() && (line.starts_with(indent) || line == " *");
    if (begins || continues) program += line.substr(std::min(line.size(), indent.size())) + "\n";
    if (line == indent + "}") break;
  }
  return program;
}

// The first block of C in the README.
std::string readme_program() {
  const std::string readme = text_of(SL_README), start = "```c\n";
  const size_t begin = readme.find(start);
  REQUIRE(begin != std::string::npos);
  return readme.substr(begin + start.size(), readme.find("```", begin + 1) - begin - start.size());
}

// Runs the program on three blocks of zeros, with this config as its model.
ToolRun stream(const std::string& folder, const std::string& config) {
  const std::string model = folder + "/build/demo/silero_vad";
  std::filesystem::create_directories(model);
  std::ofstream(model + "/config.json") << config;
  return run_program("/bin/sh", {"-c", "cd " + folder + " && head -c 6144 /dev/zero | ./stream"});
}

TEST_CASE("fault 27: the README's stream in C reports failures", "[f27]") {
  const std::string folder = build_program(readme_program(), "stream");
  const ToolRun missing = run_program("/bin/sh", {"-c", "cd " + folder + " && ./stream"});
  CHECK(missing.status == 1);
  CHECK_THAT(missing.output, Contains("build/demo/silero_vad"));

  // An Identity takes blocks of one step, not of 512.
  const ToolRun failing = stream(folder, R"({"type": "Identity"})");
  CHECK(failing.status == 1);
  CHECK(failing.output.size() > 10);
  CHECK_THAT(failing.output, !Contains("0.000"));

  const ToolRun good = stream(folder, R"({"type": "Serial", "layers": [
      {"type": "Downsample1D", "rate": 512}, {"type": "ExpandDims", "axis": -1}]})");
  CHECK(good.output == "0.000\n0.000\n0.000\n");
  CHECK(good.status == 0);
}

TEST_CASE("the header's example filters samples", "[f27]") {
  const std::string folder = build_program(header_program(), "stream");
  const auto run = [&] {
    return run_program("/bin/sh", {"-c", "cd " + folder + " && head -c 2048 /dev/zero | ./stream " +
                                             folder + " | wc -c"});
  };
  CHECK_THAT(run().output, Contains("config.json"));
  std::ofstream(folder + "/config.json") << R"({"type": "Delay", "length": 3})";
  CHECK(run().output == "2048\n");
}

}  // namespace
}  // namespace sl::testing
