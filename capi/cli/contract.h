// The contract that every layer and every model keeps: one checker, through the C ABI alone.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_CONTRACT_H_
#define SEQUENCE_LAYERS_CAPI_CLI_CONTRACT_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/compare.h"
#include "cli/runner.h"

namespace sl::cli {

struct Check;

// What is checked, and what is known of the right answers. What is not known (no output, no
// metadata) is checked for agreement of the layer with itself only.
struct Case {
  const sl_layer* layer = nullptr;
  Input input;
  nlohmann::json metadata;       // keys as in the golden cases; those left out are not compared
  std::optional<Tensor> output;  // layer-wise, invalid steps zeroed
  std::vector<NamedTensor> emits;
  Tolerance tolerance;
  std::optional<double> pad_value;  // none: NaN, or what comes closest to it
  bool test_padding_invariance = true;
  bool test_batching = true;
  bool test_2x_step = true;
  std::vector<int64_t> call_sizes = {
      7};                              // blocks that streams take in one call, beside one and two
  bool probe_receptive_field = false;  // costs an apply for every probed step
  // Told of every check when it is done, and in the longest of them of the share that is.
  std::function<void(const Check&)> on_check;
  std::function<void(double)> on_progress;
};

struct Check {
  std::string name;
  std::string reason;  // empty: kept
  double largest = 0;  // largest difference of two values that should be equal
  std::string note;    // what a reader of the whole list wants to know
  // Why the library says that it cannot be kept, where it is not.
  std::string expected = "";

  bool ok() const { return reason.empty() || is_expected(); }
  bool is_expected() const { return !expected.empty(); }
};

struct Report {
  std::vector<Check> checks;

  bool ok() const;
  // Whether something is not kept that the library says cannot be.
  bool has_expected() const;
  // "check: reason" of every check that failed, one after the other.
  std::string failures() const;
};

// Never throws: whatever a call reports is the failure of the check that made it.
Report check_contract(const Case& c);

// The same of prefixes alone, of every length: run layer-wise and followed by steps, they give what
// steps give. No checks if the layer cannot step.
Report check_prefixes(const Case& c);

// The tolerance of a case of these recorded values, looser where half precision is in play.
Tolerance case_tolerance(double relative, double absolute, bool half_precision);

// Whether the config computes or keeps parameters in half precision anywhere.
bool uses_half_precision(const nlohmann::json& config);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_CONTRACT_H_
