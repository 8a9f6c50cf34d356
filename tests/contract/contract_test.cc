// Checks the contract (steps equal layer-wise runs, padding, batches, states) on random trees of
// layers.
#include "testing/contract.h"

#include <catch2/catch.hpp>
#include <set>

#include "contract/trees.h"

namespace sl::testing {
namespace {

constexpr uint32_t kTrees = 200;

// `check` is check_contract or another set of checks.
Report check_tree(const Tree& tree, uint32_t seed, Report (*check)(const Case&)) {
  const Layer layer = make_tree_model(tree, seed);
  std::mt19937 rng(seed);
  std::vector<int64_t> dims = {3, 13 + static_cast<int64_t>(seed % 8)};
  dims.insert(dims.end(), tree.channels.begin(), tree.channels.end());
  Case c;
  c.layer = &layer;
  c.input.x = random_sequence(SL_DTYPE_FLOAT32, dims, rng);
  c.tolerance = {1e-4, 1e-4};
  c.probe_receptive_field = seed % 4 == 0;
  return check(c);
}

TEST_CASE("streams of random trees in slots give what they give alone", "[contract]") {
  size_t checks = 0;
  for (uint32_t seed = 0; seed < kTrees; ++seed) {
    const Tree tree = make_tree(seed);
    INFO("seed " << seed << ": " << tree.config);
    const Report report = check_tree(tree, seed, check_slots);
    CHECK(report.failures() == "");
    checks += report.checks.size();
  }
  CHECK(checks > 3 * kTrees / 2);
}

TEST_CASE("random trees keep the contract", "[contract]") {
  for (uint32_t seed = 0; seed < kTrees; ++seed) {
    const Tree tree = make_tree(seed);
    INFO("seed " << seed << ": " << tree.config);
    Report report;
    CHECK_NOTHROW(report = check_tree(tree, seed, check_contract));
    CHECK(report.failures() == "");
    CHECK(report.checks.size() >= 5);
  }
}

// Without this variety, the test of random trees would show little.
TEST_CASE("random trees cover the layers and properties that they are meant to cover",
          "[contract]") {
  std::set<std::string> configs;
  std::string all;
  int64_t steppable = 0;
  for (uint32_t seed = 0; seed < kTrees; ++seed) {
    const Tree tree = make_tree(seed);
    configs.insert(tree.config);
    all += tree.config;
    steppable += make_tree_model(tree, seed).supports_step();
  }
  CHECK(configs.size() > kTrees * 9 / 10);
  CHECK(steppable > kTrees / 2);
  CHECK(steppable < kTrees);
  for (const char* type : {"Serial", "Residual", "Parallel", "Repeat", "Blockwise",
                           "ParallelChannels", "Bidirectional", "Conv1D", "Conv2D", "LSTM",
                           "DepthwiseConv1D", "Delay", "Lookahead", "Upsample1D", "Transpose"}) {
    INFO(type);
    CHECK(all.find(std::string("\"") + type + "\"") != std::string::npos);
  }
}

TEST_CASE("the checker finds violations of the contract", "[contract]") {
  const Layer layer = make_model(R"({"type":"Relu"})");
  std::mt19937 rng(1);
  Case c;
  c.layer = &layer;
  c.input.x = random_sequence(SL_DTYPE_FLOAT32, {2, 6, 3}, rng);
  CHECK(check_contract(c).ok());
  c.metadata = {{"block_size", 2}};
  CHECK(check_contract(c).failures().find("metadata") != std::string::npos);
  c.metadata = nullptr;
  c.output = c.input.x;  // differs from the output of Relu
  CHECK(check_contract(c).failures().find("layer output") != std::string::npos);
}

}  // namespace
}  // namespace sl::testing
