// Fault 7: the library depended on oneDNN as a shared object. With another version of oneDNN in the
// process's global scope, a large product called functions of both.
#include <catch2/catch.hpp>

#include "faults/faults.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

// The library with its default back end for large products, and with oneDNN for all of them.
constexpr const char* kOneDnn = SL_LIBRARY "+onednn";
constexpr const char* kLibraries[] = {SL_LIBRARY, kOneDnn};

ToolRun run_host(const std::vector<std::string>& arguments,
                 const std::vector<std::string>& variables = {}) {
  ToolRun run = run_program(SL_ONEDNN_HOST, arguments, variables);
  INFO(run.output);
  CHECK(run.status == 0);
  CHECK_THAT(run.output, !Contains("wrong"));
  return run;
}

TEST_CASE("fault 7: a small model maps neither oneDNN nor OpenMP", "[f07]") {
  for (const char* library : kLibraries) {
    const ToolRun run = run_host({"small", library});
    CHECK_THAT(run.output, Contains("step right") && Contains("oneDNN 3 unmapped") &&
                               Contains("OpenMP unmapped"));
  }
}

TEST_CASE("fault 7: large products are right with and without oneDNN", "[f07]") {
  for (const char* library : kLibraries) {
    CHECK_THAT(run_host({"product", library}).output, Contains("product right"));
    for (const std::string where : {"", "/nowhere/libdnnl.so.3", SL_LIBRARY}) {
      const std::string variable = "SEQUENCE_LAYERS_ONEDNN=" + where;
      CHECK_THAT(run_host({"product", library}, {variable}).output,
                 Contains("product right") && Contains("oneDNN 3 unmapped"));
    }
  }
  CHECK_THAT(run_host({"product", SL_LIBRARY}).output, Contains("oneDNN 3 unmapped"));
#ifdef SL_HAS_ONEDNN
  CHECK_THAT(run_host({"product", kOneDnn}).output, Contains("oneDNN 3 mapped"));
#endif
}

TEST_CASE("OpenBLAS is loaded as oneDNN is, when it is asked for", "[f07]") {
  const std::string library = SL_LIBRARY "+openblas";
  CHECK_THAT(run_host({"small", library}).output, Contains("OpenBLAS unmapped"));
  CHECK_THAT(run_host({"product", SL_LIBRARY}).output, Contains("OpenBLAS unmapped"));
  CHECK_THAT(run_host({"product", library}).output,
             Contains("product right") && Contains("OpenBLAS mapped, hidden"));
  CHECK_THAT(run_host({"product", library}, {"SEQUENCE_LAYERS_OPENBLAS="}).output,
             Contains("product right") && Contains("OpenBLAS unmapped"));
  CHECK_THAT(run_host({"product", library}, {"SEQUENCE_LAYERS_OPENBLAS=libm.so.6"}).output,
             Contains("product right") && Contains("libm.so.6: the process uses it"));
}

TEST_CASE("fault 7: a file that is not oneDNN 3 is refused with the reason, once", "[f07]") {
  const ToolRun run = run_host({"product", kOneDnn}, {"SEQUENCE_LAYERS_ONEDNN=libm.so.6"});
  const std::string reason = "run on the library's own kernels: libm.so.6: it is not oneDNN";
  CHECK_THAT(run.output, Contains(reason));
  CHECK(run.output.find(reason) == run.output.rfind(reason));
}

TEST_CASE("fault 7: two versions of oneDNN in one process, in either order", "[f07]") {
#ifdef SL_OTHER_ONEDNN
  for (const char* library : kLibraries) {
    for (const std::string order : {"before", "after"}) {
      CAPTURE(library, order);
      CHECK_THAT(run_host({order, library, SL_OTHER_ONEDNN}).output, Contains("product right"));
    }
  }
#ifndef SL_SANITIZE  // a sanitizer must be loaded first, and does not allow private symbols
  for (const char* library : kLibraries) {
    const std::vector<std::string> preload = {"LD_PRELOAD=" SL_OTHER_ONEDNN};
    CHECK_THAT(run_host({"product", library}, preload).output, Contains("product right"));
  }
  CHECK_THAT(run_host({"before", kOneDnn, SL_OTHER_ONEDNN}).output, Contains("oneDNN 3 mapped"));
#endif
  const std::string other = "SEQUENCE_LAYERS_ONEDNN=" SL_OTHER_ONEDNN;
  CHECK_THAT(run_host({"product", kOneDnn}, {other}).output,
             Contains("it is oneDNN") && Contains("product right"));
#else
  WARN("no other oneDNN is installed: packaging/setup.sh installs one");
#endif
}

TEST_CASE("fault 7: the library is loaded and unloaded a thousand times", "[f07]") {
#ifdef SL_SANITIZE  // sanitizers make it slow
  const std::string count = "50";
#else
  const std::string count = "1000";
#endif
  for (const char* library : kLibraries) {
    const ToolRun run = run_host({"reload", library, count});
    CAPTURE(library, run.output);
    CHECK_THAT(run.output, Contains("product right"));
    const size_t at = run.output.find("grew by ");
    REQUIRE(at != std::string::npos);
#ifndef SL_SANITIZE  // sanitizers keep freed memory
    CHECK(std::stol(run.output.substr(at + 8)) < 2048);
#endif
  }
}

}  // namespace
}  // namespace sl::testing
