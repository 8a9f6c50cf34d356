// sl: runs, checks and measures models of libsequence_layers.
#include <cstdio>
#include <stdexcept>
#include <string>

#include "cli/commands.h"
#include "sequence_layers/sequence_layers.h"

namespace sl::cli {
namespace {

constexpr int kFailure = 1;
constexpr int kUsage = 2;

std::string version_text() {
  const uint32_t version = sl_version();
  return "sl " + std::to_string(version >> 16) + "." + std::to_string((version >> 8) & 255) + "." +
         std::to_string(version & 255);
}

int run(int argc, char** argv) {
  Action action;
  CLI::App app("Runs, checks and measures streamable sequence models.", "sl");
  app.set_version_flag("--version", version_text());
  app.require_subcommand(1);
  add_info(app, action);
  add_run(app, action);
  add_verify(app, action);
  add_bench(app, action);
  add_pack(app, action);
  add_compare(app, action);
  add_golden(app, action);
  add_list(app, action);
  add_completion(app, action);
  const auto is_named = [&](CLI::App* command) { return command->get_name() == argv[1]; };
  if (argc > 1 && argv[1][0] != '-' && app.get_subcommands(is_named).empty()) {
    std::fprintf(stderr, "sl: unknown command '%s', see sl --help\n", argv[1]);
    return kUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // --help and --version end the parser with an exception but without an error.
    if (error.get_exit_code() == 0) return app.exit(error);
    std::fprintf(stderr, "sl: %s\n", error.what());
    return kUsage;
  }
  return action();
}

}  // namespace
}  // namespace sl::cli

#ifdef SL_SANITIZE
// fontconfig caches fonts until the process ends: plots would be reported as leaks.
extern "C" [[gnu::visibility("default")]] const char* __lsan_default_suppressions() {
  return "leak:libfontconfig";
}
#endif

int main(int argc, char** argv) {
  try {
    return sl::cli::run(argc, argv);
  } catch (const std::invalid_argument& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "sl: %s\n", error.what());
    return sl::cli::kUsage;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "sl: %s\n", error.what());
    return sl::cli::kFailure;
  }
}
