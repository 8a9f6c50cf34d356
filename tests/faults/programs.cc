#include "faults/programs.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "faults/faults.h"

namespace sl::testing {

std::string build_program(const std::string& program, const std::string& name) {
  const std::string folder = scratch_directory();
  const std::string source = folder + "/" + name + ".c";
  std::ofstream(source) << program;
  const std::string library = std::filesystem::path(SL_LIBRARY).parent_path().string();
  std::vector<std::string> arguments = {"-std=c11",
                                        "-Wall",
                                        "-Wextra",
                                        "-Werror",
                                        "-pedantic",
                                        "-pthread",
                                        "-I" SL_INCLUDE,
                                        source,
                                        SL_LIBRARY,
                                        "-Wl,-rpath," + library,
                                        "-o",
                                        folder + "/" + name};
#ifdef SL_SANITIZE
  arguments.push_back("-fsanitize=address,undefined");
#ifdef __clang__
  arguments.insert(arguments.end(), {"-fsanitize-link-c++-runtime", "-lstdc++"});
#endif
#endif
  const ToolRun build = run_program(SL_C_COMPILER, arguments);
  INFO(build.output);
  REQUIRE(build.status == 0);
  return folder;
}

}  // namespace sl::testing
