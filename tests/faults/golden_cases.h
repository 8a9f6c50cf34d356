// Iterates over the recorded cases of the reference.
#ifndef SEQUENCE_LAYERS_TESTS_FAULTS_GOLDEN_CASES_H_
#define SEQUENCE_LAYERS_TESTS_FAULTS_GOLDEN_CASES_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/contract.h"
#include "cli/model.h"

namespace sl::testing {

struct GoldenCase {
  std::string name;
  nlohmann::ordered_json recorded;
  const sl_weights* tensors;

  std::string config() const { return recorded.at("config").dump(); }
  // The layer of the case, with its recorded weights.
  cli::Layer layer() const;
  cli::Case check(const sl_layer* layer) const;
};

void for_each_golden_case(const std::function<void(const GoldenCase&)>& fn);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_FAULTS_GOLDEN_CASES_H_
