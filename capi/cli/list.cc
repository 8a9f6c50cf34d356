// sl list: the layer types that configs may name.
#include <cstdio>

#include "cli/commands.h"
#include "sequence_layers/sequence_layers.h"

namespace sl::cli {

void add_list(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("list", "Print every layer type");
  command->callback([&action] {
    action = [] {
      const int64_t count = sl_registry_count(nullptr);
      for (int64_t i = 0; i < count; ++i) std::printf("%s\n", sl_registry_type(nullptr, i));
      return 0;
    };
  });
}

}  // namespace sl::cli
