// sl bench --profile: what each layer of a model costs.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_PROFILE_H_
#define SEQUENCE_LAYERS_CAPI_CLI_PROFILE_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/json_output.h"
#include "sequence_layers/sequence_layers.h"

namespace sl::cli {

// One layer; numbers are those of one run, its children's not in them.
struct ProfileRow {
  std::string path;  // empty: the model itself
  std::string type;
  double calls = 0;
  double self_micros = 0;
  double share = 0;  // of the time of all
  double flop = 0;
  double bytes = 0;
  std::optional<std::string> folded_into = std::nullopt;  // path of the layer that does its work

  double gigaflops() const { return self_micros > 0 ? flop / self_micros * 1e-3 : 0; }
  double gigabytes() const { return self_micros > 0 ? bytes / self_micros * 1e-3 : 0; }
};

struct ProfileTable {
  int64_t runs = 0;
  double whole_micros = 0;  // of one run, as the caller's clock has it
  std::vector<ProfileRow> rows;

  void sort(const std::string& by);
  void print(const char* name) const;
  ordered_json json() const;
};

constexpr const char* kProfileOrders[] = {"time", "flop", "bytes", "path", "run"};

// Calls run(profile) for that long, at least three times.
ProfileTable profile(double seconds, const std::function<void(sl_profile*)>& run);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_PROFILE_H_
