// Functions that a target defines for the driver, besides LLVMFuzzerTestOneInput.
#ifndef SEQUENCE_LAYERS_TESTS_FUZZ_TARGET_H_
#define SEQUENCE_LAYERS_TESTS_FUZZ_TARGET_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace sl::fuzz {

// Inputs to mutate: valid ones, and those for which faults were found.
std::vector<std::string> corpus();

// Pieces of text that mutations insert.
std::vector<std::string> dictionary();

}  // namespace sl::fuzz

#endif  // SEQUENCE_LAYERS_TESTS_FUZZ_TARGET_H_
