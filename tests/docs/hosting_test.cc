// Compiles and runs every program of docs/hosting.md, and compares what it prints with the page.
#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <regex>

#include "faults/faults.h"
#include "faults/programs.h"

namespace sl::testing {
namespace {

struct Program {
  std::string section, text, output;
};

// The first block of that language from `at` on; `at` is then behind it.
std::string block(const std::string& page, const std::string& language, size_t* at) {
  const std::string start = "```" + language + "\n";
  const size_t begin = page.find(start, *at) + start.size();
  const size_t end = page.find("```\n", begin);
  REQUIRE(end != std::string::npos);
  *at = end;
  return page.substr(begin, end - begin);
}

std::vector<Program> programs_of(const std::string& path) {
  std::ifstream file(path);
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  std::vector<Program> programs;
  for (size_t at = 0; (at = page.find("```c\n", at)) != std::string::npos;) {
    Program program;
    const size_t heading = page.rfind("\n## ", at) + 4;
    program.section = page.substr(heading, page.find('\n', heading) - heading);
    program.text = block(page, "c", &at);
    program.output = block(page, "text", &at);
    programs.push_back(program);
  }
  return programs;
}

// Whether the text is the pattern, in which "..." stands for any text.
bool is_like(const std::string& text, const std::string& pattern) {
  size_t from = 0, at = 0;
  for (size_t dots; (dots = pattern.find("...", from)) != std::string::npos; from = dots + 3) {
    const std::string part = pattern.substr(from, dots - from);
    const size_t found = text.find(part, at);
    if (found == std::string::npos || (from == 0 && found != 0)) return false;
    at = found + part.size();
  }
  const std::string last = pattern.substr(from);
  return from == 0 ? text == last : text.size() >= at + last.size() && text.ends_with(last);
}

// LeakSanitizer notes in a child process that it cannot stop its parent's threads.
std::string without_notes(const std::string& text) {
  return std::regex_replace(text, std::regex("==[0-9]+==Running thread[^\n]*\n"), "");
}

TEST_CASE("patterns match texts as they say", "[hosting]") {
  CHECK(is_like("a\n", "a\n"));
  CHECK(!is_like("ab\n", "a\n"));
  CHECK(is_like("made 3 of 4\n", "made ... of ...\n"));
  CHECK(!is_like("made 3\n", "made ... of ...\n"));
  CHECK(!is_like("it made 3 of 4\n", "made ... of ...\n"));
  CHECK(!is_like("made 3 of 4", "made ... of ...\n"));
}

TEST_CASE("the programs of docs/hosting.md print what the page says", "[hosting]") {
  const std::vector<Program> programs = programs_of(SL_SOURCE_DIR "/docs/hosting.md");
  CHECK(programs.size() == 9);
  for (const Program& program : programs) {
    INFO(program.section);
    const std::string folder = build_program(program.text, "program");
    const ToolRun run = run_program(folder + "/program", {});
    CHECK(run.status == 0);
    INFO(run.output);
    CHECK(is_like(without_notes(run.output), program.output));
  }
}

}  // namespace
}  // namespace sl::testing
