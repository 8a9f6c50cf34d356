// Inputs of faults that users found, and the sl tool run as a user would run it.
#ifndef SEQUENCE_LAYERS_TESTS_FAULTS_FAULTS_H_
#define SEQUENCE_LAYERS_TESTS_FAULTS_FAULTS_H_

#include <string>
#include <vector>

namespace sl::testing {

// Path of a file or directory in tests/faults/inputs.
std::string fault_input(const std::string& name);

// A new empty directory, removed at the end of the test program.
std::string scratch_directory();

struct ToolRun {
  int status = -1;     // exit status; 128 + signal number if a signal ended the process
  std::string output;  // stdout and stderr together
};

// Runs a program with an empty stdin. `variables` ("NAME=value") are added to its environment.
ToolRun run_program(const std::string& program, const std::vector<std::string>& arguments,
                    const std::vector<std::string>& variables = {});

// Runs `sl`.
ToolRun run_tool(const std::vector<std::string>& arguments);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_FAULTS_FAULTS_H_
