// What the driver needs of a target beside LLVMFuzzerTestOneInput.
#ifndef SEQUENCE_LAYERS_TESTS_FUZZ_TARGET_H_
#define SEQUENCE_LAYERS_TESTS_FUZZ_TARGET_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace sl::fuzz {

// Inputs that mutations start from: good ones, and those with which faults were found.
std::vector<std::string> corpus();

// Pieces that mutations put in.
std::vector<std::string> dictionary();

}  // namespace sl::fuzz

#endif  // SEQUENCE_LAYERS_TESTS_FUZZ_TARGET_H_
