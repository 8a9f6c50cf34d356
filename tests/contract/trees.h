// Random models: trees of combinators and layers that are valid by construction.
#ifndef SEQUENCE_LAYERS_TESTS_CONTRACT_TREES_H_
#define SEQUENCE_LAYERS_TESTS_CONTRACT_TREES_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "support/models.h"

namespace sl::testing {

struct Tree {
  std::string config;
  WeightHints hints;
  std::vector<int64_t> channels;  // of its float32 input
};

// The same tree for the same seed.
Tree make_tree(uint32_t seed);
// One whose layers need not agree with latencies before them: steps may differ from whole runs.
Tree make_careless_tree(uint32_t seed);

cli::Layer make_tree_model(const Tree& tree, uint32_t seed);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_CONTRACT_TREES_H_
