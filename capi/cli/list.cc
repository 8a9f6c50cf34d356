// sl list: prints the layer types that configs can use.
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/json_output.h"
#include "sequence_layers/sequence_layers.hpp"

namespace sl::cli {
namespace {

int run_list(bool as_json) {
  ordered_json types = ordered_json::array();
  for (const std::string& type : sequence_layers::Registry::built_in_types()) types.push_back(type);
  if (as_json) {
    print_json({{"types", types}});
    return 0;
  }
  for (const ordered_json& type : types) std::printf("%s\n", type.get<std::string>().c_str());
  return 0;
}

}  // namespace

void add_list(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("list", "Print every layer type");
  auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print them as JSON");
  command->callback([as_json, &action] { action = [as_json] { return run_list(*as_json); }; });
}

}  // namespace sl::cli
