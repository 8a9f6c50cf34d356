// Fault 4: a missing weight ended in a double free, where the compiler destroyed twice what had
// been made before it. With AddressSanitizer this test shows every such place.
#include <catch2/catch.hpp>

#include "faults/faults.h"
#include "faults/golden_cases.h"
#include "support/models.h"

namespace sl::testing {
namespace {

std::vector<sequence_layers::NamedTensor> tensors_of(const Weights& weights) {
  std::vector<sequence_layers::NamedTensor> out;
  for (int64_t i = 0; i < weights.tensor_count(); ++i) out.push_back(weights.tensor(i));
  return out;
}

// The error of creating the model without that weight.
Failure failure_without(const std::string& config,
                        const std::vector<sequence_layers::NamedTensor>& tensors, size_t left_out) {
  Weights weights;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (i != left_out) weights.add(tensors[i].name, tensors[i].view);
  }
  return thrown_by([&] { Layer(config, weights); });
}

TEST_CASE("fault 4: a model without one of its weights is refused by the weight's name", "[f04]") {
  int64_t checked = 0;
  for_each_golden_case([&](const GoldenCase& recorded) {
    const Weights weights = select_weights(recorded.tensors, recorded.name + "/weights/");
    const std::vector<sequence_layers::NamedTensor> tensors = tensors_of(weights);
    for (size_t i = 0; i < tensors.size(); ++i, ++checked) {
      const Failure failure = failure_without(recorded.config(), tensors, i);
      if (failure.status == SL_STATUS_WEIGHTS &&
          failure.message.find(tensors[i].name) != std::string::npos) {
        continue;
      }
      INFO(recorded.name << " without " << tensors[i].name << ": " << failure.message);
      CHECK(failure.status == SL_STATUS_WEIGHTS);
      CHECK_THAT(failure.message, Catch::Matchers::Contains(tensors[i].name));
    }
  });
  CHECK(checked > 2000);
}

}  // namespace
}  // namespace sl::testing
