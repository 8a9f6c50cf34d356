// Measures the receptive field: changes input steps one by one and finds the outputs that change.
#ifndef SEQUENCE_LAYERS_CAPI_TESTING_PROBE_H_
#define SEQUENCE_LAYERS_CAPI_TESTING_PROBE_H_

#include <functional>
#include <string>

#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {

struct Probe {
  std::string reason;  // names an output step that changed with an input step outside its field
  std::string note;    // the declared and the observed field
};

// Works for floating-point inputs only. Runs the layer on random valid inputs with the channel spec
// of `input`, long enough for both ends of the field, up to a limit. Calls `progress` with the
// share that is done.
Probe probe_receptive_field(const Layer& layer, const Input& input, Tolerance tolerance,
                            const std::function<void(double)>& progress = nullptr);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_CAPI_TESTING_PROBE_H_
