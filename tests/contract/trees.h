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
  std::vector<int64_t> channels;  // channel shape of its float32 input
};

// A random tree for which the contract must hold. Equal seeds give equal trees.
Tree make_tree(uint32_t seed);
// A random tree whose layers may ignore the latency of layers before them, so that steps may differ
// from whole runs.
Tree make_careless_tree(uint32_t seed);

Layer make_tree_model(const Tree& tree, uint32_t seed);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_CONTRACT_TREES_H_
