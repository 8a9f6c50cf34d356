// Step differences: where steps and layer-wise runs cannot agree, as in the reference. They are
// found when a model is created.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace sl {

// The early steps at some point in a model: those before the first step of a layer-wise run.
struct EarlySteps {
  enum class Kind : int32_t {
    kLatency,  // from latency; the caller of a stream drops them, but later layers see them
    kPadding,  // the invalid end of a whole input, which comes first where it is run in reverse
    kNone      // no early steps: a whole input, run forward
  };

  Kind kind = Kind::kLatency;
  int64_t count = 0;  // 1 for kPadding, where the number is not known
  // The layer that makes some of the steps valid, as messages name it, and the change that avoids
  // that. Empty if all are invalid.
  std::string made_valid_by;
  std::string cure;
  // Whether sequences begin with invalid steps at this point in a layer-wise run too.
  bool begins_invalid = false;

  bool valid() const { return !made_valid_by.empty(); }
};

struct StepDifference {
  // The values equal those of SL_STEP_DIFFERENCE_*.
  enum class Condition : int32_t { kAlways = 0, kHoles = 1, kPadding = 2 };

  Condition condition = Condition::kAlways;
  std::string reason;  // empty: no difference
  std::string cure;
  // The maximum wavelength of a layer that turns its last channel axis by the position; 0 for other
  // layers. Products of two such outputs depend only on the distance of their positions.
  double turns = 0;
  std::string path = "";  // path of the layer, empty for the root
  std::string type = "";

  // How messages name the layer.
  std::string where() const;
};

std::string quoted_layer(const std::string& type, const std::string& path);

// Collects the differences of a tree of layers, each under the path of its layer.
class StepDifferences {
 public:
  // Adds a difference of the layer at the current path, unless that layer has one already.
  void add(StepDifference difference, const std::string& type);
  // How messages name a layer at the current path.
  std::string here(const std::string& type) const { return quoted_layer(type, path_); }

  template <typename Fn>
  void within(const std::string& name, Fn&& fn) {
    const std::string path = path_;
    if (!path_.empty()) path_ += '.';
    path_ += name;
    fn();
    path_ = path;
  }

  size_t size() const { return all_.size(); }
  // Removes the differences from index `size` on.
  void shrink(size_t size) { all_.resize(size); }
  const std::vector<StepDifference>& all() const { return all_; }
  std::vector<StepDifference> take() { return std::move(all_); }

 private:
  std::string path_;
  std::set<std::string> seen_;  // layers that have a difference
  std::vector<StepDifference> all_;
};

// The difference of a layer on which early steps have an effect even if they are invalid. `does`
// describes the effect, such as "counts invalid steps".
StepDifference minds_early_steps(const EarlySteps& before, const std::string& does,
                                 const std::string& cure = "");

}  // namespace sl
