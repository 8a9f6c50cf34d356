// Iterates over the recorded cases of the reference.
#ifndef SEQUENCE_LAYERS_TESTS_FAULTS_GOLDEN_CASES_H_
#define SEQUENCE_LAYERS_TESTS_FAULTS_GOLDEN_CASES_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "testing/contract.h"
#include "testing/model.h"

namespace sl::testing {

struct GoldenCase {
  std::string name;
  nlohmann::ordered_json recorded;
  const Weights& tensors;

  std::string config() const { return recorded.at("config").dump(); }
  // The layer of the case, with its recorded weights.
  Layer layer() const;
  // The layer must outlive the case; null if it is only needed for its input.
  Case check(const Layer* layer) const;
};

void for_each_golden_case(const std::function<void(const GoldenCase&)>& fn);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_FAULTS_GOLDEN_CASES_H_
