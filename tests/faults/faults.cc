#include "faults/faults.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace sl::testing {
namespace {

struct ScratchRoot {
  ScratchRoot() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sl_faults_XXXXXX").string();
    if (!mkdtemp(pattern.data())) throw std::runtime_error("no temporary directory");
    path = pattern;
  }
  ~ScratchRoot() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
  int count = 0;
};

// Replaces the child process by the program, with stdout and stderr going to `pipe_end`.
[[noreturn]] void exec_program(const std::string& program,
                               const std::vector<std::string>& arguments,
                               const std::vector<std::string>& variables, int pipe_end) {
  dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
  dup2(pipe_end, STDOUT_FILENO);
  dup2(pipe_end, STDERR_FILENO);
  for (const std::string& variable : variables) putenv(const_cast<char*>(variable.c_str()));
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  _exit(127);
}

}  // namespace

std::string fault_input(const std::string& name) {
  return std::string(SL_FAULTS_INPUTS) + "/" + name;
}

std::string scratch_directory() {
  static ScratchRoot root;
  const std::string path = root.path + "/" + std::to_string(root.count++);
  std::filesystem::create_directory(path);
  return path;
}

ToolRun run_program(const std::string& program, const std::vector<std::string>& arguments,
                    const std::vector<std::string>& variables) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  const pid_t child = fork();
  if (child == 0) exec_program(program, arguments, variables, ends[1]);
  close(ends[1]);
  ToolRun run;
  std::array<char, 4096> buffer;
  for (ssize_t n; (n = read(ends[0], buffer.data(), buffer.size())) > 0;)
    run.output.append(buffer.data(), static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  run.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return run;
}

ToolRun run_tool(const std::vector<std::string>& arguments) {
  return run_program(SL_TOOL, arguments);
}

}  // namespace sl::testing
