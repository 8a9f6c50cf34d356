// Programs in C from the documentation, compiled as a user would compile them.
#ifndef SEQUENCE_LAYERS_TESTS_FAULTS_PROGRAMS_H_
#define SEQUENCE_LAYERS_TESTS_FAULTS_PROGRAMS_H_

#include <string>

namespace sl::testing {

// Compiles a program to the file `name` in a new directory, whose path is returned.
std::string build_program(const std::string& program, const std::string& name);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_FAULTS_PROGRAMS_H_
