// Faults that users found: their inputs, and the sl tool run on them as a user would.
#ifndef SEQUENCE_LAYERS_TESTS_FAULTS_FAULTS_H_
#define SEQUENCE_LAYERS_TESTS_FAULTS_FAULTS_H_

#include <string>
#include <vector>

namespace sl::testing {

// Path of a file or directory below tests/faults/inputs.
std::string fault_input(const std::string& name);

// A new empty directory that is removed at the end of the test program.
std::string scratch_directory();

struct ToolRun {
  int status = -1;     // exit status; 128 + signal number if a signal ended the process
  std::string output;  // stdout and stderr together
};

// Runs a program in a process of its own, with an empty stdin and these variables ("NAME=value")
// beside those of the environment.
ToolRun run_program(const std::string& program, const std::vector<std::string>& arguments,
                    const std::vector<std::string>& variables = {});

// Runs `sl`.
ToolRun run_tool(const std::vector<std::string>& arguments);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_FAULTS_FAULTS_H_
