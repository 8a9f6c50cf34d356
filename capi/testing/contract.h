// The contract that every layer and every model keeps. It is checked here, through the C ABI alone.
//
// Whole runs:
//   metadata                      properties and output spec are the recorded ones
//   layer runs                    the layer accepts the input; otherwise no other check is made
//   output spec                   the output has the announced dtype and channels
//   layer output                  the output is the recorded one
//   emits                         emits are the recorded ones, and asking for them changes no
//   output layer padding invariance      invalid steps at the end, with NaN in them, change no
//   valid step layer batching invariance     further batch items that hold NaN change no other item
//   stepping is refused           a layer that says that it cannot step refuses a stream
// Steps, if the layer can step:
//   layer = step                  steps give what the whole run gives, after the latency
//   layer = step at 2x block      so do steps of two blocks
//   calls of many blocks          so do streams made for calls of many blocks, in calls of any size
//   step padding invariance, step batching invariance: as for whole runs
//   layer-wise prefix, then steps a whole run on a stream leaves it where steps would; its saved
//                                 state continues in another stream
//   step emits                    emits of steps, joined, are those of the whole run
//   the checks of contract_state.h
// Both again with invalid steps within the input, named "holes: ...", and
//   receptive field               no output step changes with an input step outside its field
#ifndef SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_H_
#define SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {

struct Check;

// A model with an input, and the right answers as far as they are known. Without a known output or
// known metadata, the layer is only checked for agreement with itself.
struct Case {
  const Layer* layer = nullptr;
  Input input;
  nlohmann::json metadata;       // keys as in the golden cases; missing keys are not compared
  std::optional<Tensor> output;  // layer-wise, invalid steps zeroed
  std::vector<NamedTensor> emits;
  Tolerance tolerance;
  std::optional<double> pad_value;  // default: NaN, or the closest that the dtype has
  bool test_padding_invariance = true;
  bool test_batching = true;
  bool test_2x_step = true;
  std::vector<int64_t> call_sizes = {7};  // numbers of blocks per call to try, besides one and two
  bool probe_receptive_field = false;     // slow: runs the layer once per probed step
  // Called after every check, and during the longest checks with the share that is done.
  std::function<void(const Check&)> on_check;
  std::function<void(double)> on_progress;
};

struct Check {
  std::string name;
  std::string reason;  // empty if the check passed
  double largest = 0;  // largest difference of two values that should be equal
  std::string note;    // additional information for the user
  // The library's own reason why this check must fail for this layer; empty if there is none.
  std::string expected = "";

  bool ok() const { return reason.empty() || is_expected(); }
  bool is_expected() const { return !expected.empty(); }
};

struct Report {
  std::vector<Check> checks;

  bool ok() const;
  // Whether a check failed that the library announces as impossible for this layer.
  bool has_expected() const;
  // "check: reason" of every failed check, separated by " | ".
  std::string failures() const;
};

// Runs all checks. Never throws: an error of a call is a failure of the check that made the call.
Report check_contract(const Case& c);

// Checks only prefixes, of every length: each prefix is run layer-wise and continued with steps,
// and must give what steps alone give. Makes no check if the layer cannot step.
Report check_prefixes(const Case& c);

// Checks only slots: streams that share a state, each at its own position, give the bits that they
// give alone. Makes no check if the layer cannot step.
Report check_slots(const Case& c);

// The tolerance for recorded values: the given one, or a looser one if half precision is used.
Tolerance case_tolerance(double relative, double absolute, bool half_precision);

// Whether any layer of the config computes or stores parameters in half precision.
bool uses_half_precision(const nlohmann::json& config);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_H_
