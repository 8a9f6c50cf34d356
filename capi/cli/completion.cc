// sl completion: shell scripts generated from the commands, so that no option is missing.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "sequence_layers/sequence_layers.h"

namespace sl::cli {
namespace {

struct Argument {
  std::string name;         // with its dashes; empty for a positional argument
  std::string description;  // a single line
  std::string values;       // "FILE", "DIR", a list of allowed words, or "NONE"
  bool takes_value = true;
};

struct Command {
  std::string name, description;
  std::vector<Argument> options, positionals;
};

std::string dtypes() {
  std::string words;
  for (sl_dtype dtype = 0; sl_dtype_size(dtype) > 0; ++dtype) {
    words += (dtype == 0 ? "" : " ") + std::string(sl_dtype_name(dtype));
  }
  return words;
}

// Derives the values to complete from the type that CLI11 prints for the option.
std::string values_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  // The text after the colon describes a check.
  const std::string name = type.substr(0, type.find(':'));
  if (name == kFile || name == kDirectory) return name;
  if (name == kDtype) return dtypes();
  if (name == kShell) return "bash zsh fish";
  return "NONE";
}

Command command_of(const CLI::App& app) {
  Command command{app.get_name(), app.get_description(), {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    Argument argument{"", option->get_description(), values_of(*option),
                      option->get_items_expected_max() > 0};
    if (option->get_positional()) {
      argument.name = option->get_name(true);
      command.positionals.push_back(argument);
      continue;
    }
    for (const std::string& name : option->get_lnames()) {
      argument.name = "--" + name;
      command.options.push_back(argument);
    }
  }
  return command;
}

std::vector<Command> commands_of(const CLI::App& app) {
  std::vector<Command> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    commands.push_back(command_of(*command));
  }
  return commands;
}

// `text` with a backslash before each of `characters`.
std::string escaped(const std::string& text, const std::string& characters) {
  std::string out;
  for (const char c : text) {
    if (characters.find(c) != std::string::npos) out += '\\';
    out += c;
  }
  return out;
}

// The text between single quotes, for bash and zsh.
std::string in_quotes(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string joined(const std::vector<Argument>& arguments) {
  std::string out;
  for (const Argument& argument : arguments) out += (out.empty() ? "" : " ") + argument.name;
  return out;
}

constexpr const char kBashStart[] = R"(# bash completion of sl:  source <(sl completion bash)
_sl() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
  local options= values= place=0 i
  local -a places=()
  local -A argument=()
  COMPREPLY=()
  # "--option=value" comes as three words.
  [[ $before == = ]] && before=${COMP_WORDS[COMP_CWORD-2]}
  [[ $word == = ]] && word=
  case $((COMP_CWORD > 1)):${COMP_WORDS[1]} in
)";

constexpr const char kBashEnd[] = R"(    1:*) return ;;
  esac
  if [[ -n ${argument[${before:-.}]} ]]; then
    values=${argument[$before]}
  elif [[ $word == -* ]]; then
    values=$options
  else
    for ((i = 2; i < COMP_CWORD; ++i)); do
      case ${COMP_WORDS[i]} in
        -*)
          if [[ -n ${argument[${COMP_WORDS[i]}]} ]]; then
            [[ ${COMP_WORDS[i+1]} == = ]] && ((++i))
            ((++i))
          fi ;;
        *) ((++place)) ;;
      esac
    done
    values=${places[place]}
  fi
  case $values in
    FILE) mapfile -t COMPREPLY < <(compgen -f -- "$word"); compopt -o filenames 2>/dev/null ;;
    DIR) mapfile -t COMPREPLY < <(compgen -d -- "$word"); compopt -o filenames 2>/dev/null ;;
    NONE | '') ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word") ;;
  esac
}
complete -F _sl sl
)";

std::string bash_script(const Command& app, const std::vector<Command>& commands) {
  std::string names;
  for (const Command& command : commands) names += command.name + " ";
  std::string script = kBashStart;
  script += "    0:*) options=" + in_quotes(joined(app.options)) + " places=(" + in_quotes(names) +
            ") ;;\n";
  for (const Command& command : commands) {
    script += "    1:" + command.name + ")\n      options=" + in_quotes(joined(command.options)) +
              "\n      argument=(";
    for (const Argument& option : command.options) {
      if (option.takes_value) script += "[" + option.name + "]=" + in_quotes(option.values) + " ";
    }
    script += ")\n      places=(";
    for (const Argument& positional : command.positionals)
      script += in_quotes(positional.values) + " ";
    script += ") ;;\n";
  }
  return script + kBashEnd;
}

// The suffix ":name:action" of an argument of zsh's _arguments.
std::string zsh_action(const Argument& argument, const std::string& name) {
  std::string action = " ";
  if (argument.values == kFile)
    action = "_files";
  else if (argument.values == kDirectory)
    action = "_files -/";
  else if (argument.values != "NONE")
    action = "(" + argument.values + ")";
  return ":" + name + ":" + action;
}

std::string zsh_option(const Argument& option) {
  std::string text = option.name + "[" + escaped(option.description, "[]:\\") + "]";
  if (option.takes_value) text += zsh_action(option, option.name.substr(2));
  return in_quotes(text);
}

std::string zsh_script(const Command& app, const std::vector<Command>& commands) {
  std::string script =
      "#compdef sl\n"
      "# zsh completion of sl:  source <(sl completion zsh), or as _sl in a directory of $fpath\n"
      "_sl() {\n  local line state\n  local -a commands\n  _arguments -C ";
  for (const Argument& option : app.options) script += zsh_option(option) + " ";
  script +=
      "'1: :->command' '*:: :->arguments'\n"
      "  case $state in\n    command)\n      commands=(";
  for (const Command& command : commands) {
    script += "\n        " + in_quotes(command.name + ":" + escaped(command.description, ":\\"));
  }
  script +=
      ")\n      _describe command commands ;;\n"
      "    arguments)\n      case $line[1] in\n";
  for (const Command& command : commands) {
    script += "        " + command.name + ") _arguments";
    for (const Argument& option : command.options) script += " \\\n          " + zsh_option(option);
    int place = 0;
    for (const Argument& positional : command.positionals) {
      script += " \\\n          " +
                in_quotes(std::to_string(++place) + zsh_action(positional, positional.name));
    }
    script += " ;;\n";
  }
  return script +
         "      esac ;;\n  esac\n}\n"
         "if [[ $funcstack[1] == _sl ]]; then _sl \"$@\"; else compdef _sl sl; fi\n";
}

std::string fish_values(const Argument& argument) {
  if (argument.values == kFile) return " -r -F";
  if (argument.values == kDirectory) return " -x -a '(__fish_complete_directories)'";
  if (argument.values == "NONE") return " -x";
  return " -x -a '" + argument.values + "'";
}

std::string fish_script(const Command& app, const std::vector<Command>& commands) {
  auto text = [](const std::string& words) { return "'" + escaped(words, "\\'") + "'"; };
  std::string script = "# fish completion of sl:  sl completion fish | source\ncomplete -c sl -f\n";
  auto add = [&](const std::string& condition, const std::string& what,
                 const std::string& description) {
    script += "complete -c sl -n '" + condition + "'" + what + " -d " + text(description) + "\n";
  };
  for (const Argument& option : app.options)
    add("__fish_use_subcommand", " -l " + option.name.substr(2), option.description);
  for (const Command& command : commands) {
    add("__fish_use_subcommand", " -a " + command.name, command.description);
  }
  for (const Command& command : commands) {
    const std::string condition = "__fish_seen_subcommand_from " + command.name;
    for (const Argument& option : command.options) {
      add(condition,
          " -l " + option.name.substr(2) + (option.takes_value ? fish_values(option) : ""),
          option.description);
    }
    for (const Argument& positional : command.positionals) {
      // A positional argument has no option to require it.
      std::string values = fish_values(positional);
      values.erase(0, 3);
      add(condition, values, positional.description);
    }
  }
  return script;
}

}  // namespace

void add_completion(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("completion", "Print a script that completes commands");
  auto shell = std::make_shared<std::string>();
  command->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}))
      ->type_name(kShell);
  command->callback([shell, &app, &action] {
    action = [shell, &app] {
      const Command self = command_of(app);
      const std::vector<Command> commands = commands_of(app);
      const std::string script = *shell == "bash"  ? bash_script(self, commands)
                                 : *shell == "zsh" ? zsh_script(self, commands)
                                                   : fish_script(self, commands);
      std::fputs(script.c_str(), stdout);
      return 0;
    };
  });
}

}  // namespace sl::cli
