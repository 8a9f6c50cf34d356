// Checks that the header, the table of symbols, the built library and the recorded ABI agree.
#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <regex>

#include "abi/abi_table.h"

namespace sl::testing {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string output_of(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string text;
  char buffer[4096];
  while (const size_t size = std::fread(buffer, 1, sizeof(buffer), pipe)) text.append(buffer, size);
  REQUIRE(pclose(pipe) == 0);
  return text;
}

const AbiTexts& texts() {
  static const AbiTexts kTexts = {
      read_file(SL_HEADER), read_file(SL_SYMBOLS),
      output_of("nm -D --defined-only --with-symbol-versions " SL_LIBRARY), read_file(SL_BASELINE)};
  return kTexts;
}

// The text without the first line that contains `part`.
std::string without_line(std::string text, const std::string& part) {
  const size_t at = text.find(part);
  REQUIRE(at != std::string::npos);
  const size_t begin = text.rfind('\n', at) + 1;
  return text.erase(begin, text.find('\n', at) + 1 - begin);
}

// The text with the last occurrence of `from` replaced: earlier ones may be in examples.
std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.rfind(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

TEST_CASE("header, table, library and baseline name the same functions and versions", "[abi]") {
  for (const std::string& fault : abi_faults(texts())) FAIL_CHECK(fault);
  std::vector<std::string> faults;
  const Versions table = versions_in_table(texts().table, &faults);
  CHECK(table.size() > 70);
  CHECK(table.at("sl_layer_create") == "1.0");
}

TEST_CASE("a function that is missing in one of the four texts is found", "[abi]") {
  const std::string version = "1.0";
  for (const std::string name : {"sl_allocator_init", "sl_layer_step", "sl_weights_tensor"}) {
    INFO(name);
    AbiTexts lacking = texts();
    lacking.table = without_line(lacking.table, name + " ");
    CHECK(abi_faults(lacking) == std::vector{name + ": missing in symbols.txt; since " + version +
                                             " in the ABI baseline, the header, the library"});
    lacking = texts();
    lacking.nm = without_line(lacking.nm, " " + name + "@");
    CHECK(abi_faults(lacking) == std::vector{name + ": missing in the library; since " + version +
                                             " in symbols.txt, the ABI baseline, the header"});
    lacking = texts();
    lacking.baseline = without_line(lacking.baseline, "<elf-symbol name='" + name + "'");
    CHECK(abi_faults(lacking) == std::vector{name + ": missing in the ABI baseline; since " +
                                             version + " in symbols.txt, the header, the library"});
    lacking = texts();
    lacking.header = replaced(lacking.header, " " + name + "(", " no_name(");
    const std::vector<std::string> faults = abi_faults(lacking);
    REQUIRE(faults.size() == 1);
    CHECK(faults[0] == name + ": missing in the header; since " + version +
                           " in symbols.txt, the ABI baseline, the library");
  }
}

TEST_CASE("a version that differs in one of the four texts is found", "[abi]") {
  const std::string name = "sl_state_alloc_in";
  AbiTexts other = texts();
  other.table = replaced(other.table, name + " 1.0", name + " 1.1");
  CHECK(abi_faults(other) == std::vector{name + ": since 1.0 in the ABI baseline, the header, the "
                                                "library; since 1.1 in symbols.txt",
                                         name + ": since 1.1, later than 1.0"});
  other = texts();
  const size_t at = other.header.rfind("Since 1.0.", other.header.find(name + "("));
  other.header.replace(at, 10, "Since 1.2.");
  CHECK(abi_faults(other) ==
        std::vector{name + ": since 1.0 in symbols.txt, the ABI baseline, the library; since 1.2 "
                           "in the header"});
  other.header.replace(at, 10, "Soon.     ");
  CHECK(abi_faults(other).front() == name + ": expected one \"Since X.Y.\" above it");
  other = texts();
  other.nm = replaced(other.nm, name + "@@SEQUENCE_LAYERS_1.0", name + "@@SEQUENCE_LAYERS_1.1");
  CHECK(abi_faults(other) == std::vector{name + ": since 1.0 in symbols.txt, the ABI baseline, the "
                                                "header; since 1.1 in the library"});
}

TEST_CASE("lifecycles in table and header agree", "[abi]") {
  const std::string header =
      "#define SL_VERSION_MAJOR 1\n#define SL_VERSION_MINOR 10\n\n"
      "/* Old. [any-thread] Since 1.0. */\nSL_DEPRECATED(\"sl_c\") SL_API int sl_a(void);\n\n"
      "/* New. [any-thread]\n * [unstable] Since 1.10. */\nSL_API int sl_b(void);\n\n"
      "/* Good. [any-thread] Since 1.9. */\nSL_API int sl_c(void);\n";
  const std::string table = "sl_a 1.0 deprecated\nsl_b 1.10 unstable\nsl_c 1.9 stable\n";
  using Faults = std::vector<std::string>;
  CHECK(lifecycle_faults(header, table) == Faults{});
  const auto with_table = [&](const std::string& from, const std::string& to) {
    return lifecycle_faults(header, replaced(table, from, to));
  };
  CHECK(with_table("1.10", "1.11") == Faults{"sl_b: since 1.11, later than 1.10"});
  CHECK(with_table("1.9", "2.0") == Faults{"sl_c: since 2.0, later than 1.10"});
  CHECK(with_table("deprecated", "stable") == Faults{"sl_a: SL_DEPRECATED, but stable"});
  CHECK(with_table("unstable", "stable") == Faults{"sl_b: [unstable], but stable"});
  CHECK(with_table("1.9 stable", "1.9 unstable") ==
        Faults{"sl_c: unstable, no [unstable] above it"});
  CHECK(with_table("1.9 stable", "1.9 deprecated") ==
        Faults{"sl_a: its successor sl_c is no function to use",
               "sl_c: deprecated, no SL_DEPRECATED"});
  CHECK(lifecycle_faults(replaced(header, "(\"sl_c\")", "(\"sl_d\")"), table) ==
        Faults{"sl_a: its successor sl_d is no function to use"});
  CHECK(lifecycle_faults(replaced(header, "SL_DEPRECATED(\"sl_c\") ", ""), table) ==
        Faults{"sl_a: deprecated, no SL_DEPRECATED"});
}

TEST_CASE("a lifecycle that the header does not show is found", "[abi]") {
  AbiTexts other = texts();
  other.table = replaced(other.table, "sl_version 1.0 stable", "sl_version 1.0 deprecated");
  CHECK(abi_faults(other) == std::vector<std::string>{"sl_version: deprecated, no SL_DEPRECATED"});
}

TEST_CASE("the C++ wrapper reaches every function", "[abi]") {
  const std::string wrapper = read_file(SL_HEADER "pp");
  std::vector<std::string> faults;
  for (const auto& [name, version] : versions_in_table(texts().table, &faults)) {
    INFO(name);
    const bool fills_struct = name.ends_with("_init");  // in C++, an _INIT macro does the same
    CHECK((fills_struct || std::regex_search(wrapper, std::regex("\\b" + name + "\\b"))));
  }
}

TEST_CASE("a symbol that should not be exported is found", "[abi]") {
  AbiTexts other = texts();
  other.nm += "0000000000000000 W _ZN2sl5leaksEv@@SEQUENCE_LAYERS_1.0\n";
  CHECK(abi_faults(other).size() == 1);
}

TEST_CASE("an invalid line of the table is found", "[abi]") {
  std::vector<std::string> faults;
  versions_in_table("sl_b 1.0 stable\nsl_a 1.0 stable\nsl_c\nsl_d 1.0 new\n", &faults);
  CHECK(faults == std::vector<std::string>{"symbols.txt: not in order at sl_a 1.0 stable",
                                           "symbols.txt: not \"name since lifecycle\": sl_c",
                                           "symbols.txt: not \"name since lifecycle\": sl_d 1.0 "
                                           "new"});
}

}  // namespace
}  // namespace sl::testing
