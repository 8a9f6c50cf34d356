// Fault 4: a missing weight ended in a double free, where the compiler destroyed twice what had
// been made before it. With AddressSanitizer this test shows every such place.
#include <catch2/catch.hpp>

#include "faults/faults.h"
#include "faults/golden_cases.h"
#include "support/models.h"

namespace sl::testing {
namespace {

struct NamedTensor {
  std::string name;
  sl_sequence tensor;
};

std::vector<NamedTensor> tensors_of(const sl_weights* weights) {
  std::vector<NamedTensor> out;
  for (int64_t i = 0; i < sl_weights_tensor_count(weights); ++i) {
    const char* name = nullptr;
    sl_sequence tensor = SL_SEQUENCE_INIT;
    cli::check([&](sl_error* e) { return sl_weights_tensor(weights, i, &name, &tensor, e); });
    out.push_back({name, tensor});
  }
  return out;
}

// The error of creating the model without that weight.
Failure failure_without(const std::string& config, const std::vector<NamedTensor>& tensors,
                        size_t left_out) {
  const cli::Weights weights = cli::make<sl_weights>(
      [](sl_weights** out, sl_error* e) { return sl_weights_create(out, e); });
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (i == left_out) continue;
    cli::check([&](sl_error* e) {
      return sl_weights_add(weights.get(), tensors[i].name.c_str(), &tensors[i].tensor, e);
    });
  }
  sl_layer* layer = nullptr;
  const Failure failure = failure_of([&](sl_error* e) {
    return sl_layer_create(config.data(), config.size(), weights.get(), nullptr, &layer, e);
  });
  sl_layer_free(layer);
  return failure;
}

TEST_CASE("fault 4: a model without one of its weights is refused by the weight's name", "[f04]") {
  int64_t checked = 0;
  for_each_golden_case([&](const GoldenCase& recorded) {
    const cli::Weights weights = cli::select_weights(recorded.tensors, recorded.name + "/weights/");
    const std::vector<NamedTensor> tensors = tensors_of(weights.get());
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
