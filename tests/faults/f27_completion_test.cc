// Fault 27: shells could not complete the commands of `sl`.
#include <unistd.h>

#include <catch2/catch.hpp>

#include "faults/arrays.h"
#include "faults/faults.h"

namespace sl::testing {
namespace {

std::string script_of(const std::string& shell) {
  const ToolRun run = run_tool({"completion", shell});
  REQUIRE(run.status == 0);
  return write_file(shell, run.output);
}

// The completions that bash offers for the last of these words.
std::string offered(const std::string& script, const std::string& words,
                    const std::string& folder = "/") {
  const ToolRun run = run_program(
      "/bin/bash",
      {"-c", "source " + script + "; cd " + folder + "; COMP_WORDS=(" + words +
                 "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _sl; echo \"${COMPREPLY[*]}\""});
  return run.output;
}

TEST_CASE("fault 27: bash completes commands, options and files", "[f27]") {
  const std::string script = script_of("bash");
  CHECK(run_program("/bin/bash", {"-n", script}).output.empty());
  CHECK(offered(script, "sl ver") == "verify\n");
  CHECK(offered(script, "sl ''") != "\n");
  CHECK(offered(script, "sl verify --ra") == "--random\n");
  CHECK(offered(script, "sl golden --pre") == "--prefix\n");
  CHECK(offered(script, "sl completion z") == "zsh\n");
  CHECK(offered(script, "sl run --dtype = bf") == "bfloat16\n");
  CHECK(offered(script, "sl bench m --batch 1") == "\n");
  // A model is a directory, its input can be any file.
  const std::string folder = scratch_directory();
  REQUIRE(run_program("/bin/mkdir", {folder + "/model"}).status == 0);
  REQUIRE(run_program("/bin/touch", {folder + "/mono.wav"}).status == 0);
  CHECK(offered(script, "sl run mo", folder) == "model\n");
  CHECK(offered(script, "sl run --stream --block 3 model mon", folder) == "mono.wav\n");
  CHECK(offered(script, "sl run model x --plot mon", folder) == "mono.wav\n");
}

TEST_CASE("fault 27: zsh and fish accept their scripts", "[f27]") {
  for (const std::string shell : {"zsh", "fish"}) {
    const std::string script = script_of(shell), program = "/usr/bin/" + shell;
    if (access(program.c_str(), X_OK) != 0) continue;
    const ToolRun run = run_program(program, {"-n", script});
    INFO(run.output);
    CHECK(run.status == 0);
    CHECK(run.output.empty());
  }
  if (access("/usr/bin/fish", X_OK) != 0) return;
  const ToolRun run = run_program(
      "/usr/bin/fish",
      {"--no-config", "-c",
       "source " + script_of("fish") + "; complete -C 'sl ver'; complete -C 'sl verify --ra'"});
  CHECK_THAT(run.output,
             Catch::Matchers::Contains("verify\t") && Catch::Matchers::Contains("--random\t"));
}

TEST_CASE("fault 27: other shells are refused", "[f27]") {
  CHECK(run_tool({"completion", "tcsh"}).status == 2);
  CHECK(run_tool({"completion"}).status == 2);
}

}  // namespace
}  // namespace sl::testing
