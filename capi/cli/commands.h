// The subcommands of `sl`. Each adds itself to the application. The one that is chosen stores its
// work in `action`, which returns the exit code.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_COMMANDS_H_
#define SEQUENCE_LAYERS_CAPI_CLI_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <functional>

namespace sl::cli {

using Action = std::function<int()>;

// Types of option values: --help prints them, and shells complete values by them.
constexpr char kFile[] = "FILE";
constexpr char kDirectory[] = "DIR";
constexpr char kDtype[] = "DTYPE";
constexpr char kShell[] = "SHELL";

void add_bench(CLI::App& app, Action& action);
void add_compare(CLI::App& app, Action& action);
void add_completion(CLI::App& app, Action& action);
void add_golden(CLI::App& app, Action& action);
void add_info(CLI::App& app, Action& action);
void add_list(CLI::App& app, Action& action);
void add_pack(CLI::App& app, Action& action);
void add_run(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_COMMANDS_H_
