// Where steps and `layer` cannot agree, as in the reference: told when a model is made.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace sl {

// Steps before the first of a sequence, at some place in a model.
struct EarlySteps {
  enum class Kind : int32_t {
    kLatency,  // those of a stream that is late. A caller drops them, but layers behind see them
    kPadding,  // the invalid end of a whole input, which comes first where it is run backwards
    kNone      // those of a whole input run forwards
  };

  Kind kind = Kind::kLatency;
  int64_t count = 0;  // of padding 1: how many there are is open
  // The layer that makes some of them valid, as messages name it, and what keeps it from doing so;
  // empty if none of them is.
  std::string made_valid_by;
  std::string cure;
  // Whether sequences begin with invalid steps here in a layer-wise run too.
  bool begins_invalid = false;

  bool valid() const { return !made_valid_by.empty(); }
};

struct StepDifference {
  // Values are those of SL_STEP_DIFFERENCE_*.
  enum class Condition : int32_t { kAlways = 0, kHoles = 1, kPadding = 2 };

  Condition condition = Condition::kAlways;
  std::string reason;  // empty: no difference
  std::string cure;
  // Of what turns its last channel axis by its position: the maximum wavelength. Products of two
  // such outputs see only how far they are apart. 0: other layers.
  double turns = 0;
  std::string path = "";  // of the layer, empty for the root
  std::string type = "";

  // The layer as messages name it.
  std::string where() const;
};

std::string quoted_layer(const std::string& type, const std::string& path);

// Collects the differences of a tree of layers, each under the path of its layer.
class StepDifferences {
 public:
  // Adds one of the layer where the walk is, but not twice.
  void add(StepDifference difference, const std::string& type);
  // A layer where the walk is, as messages name it.
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
  // Forgets those from index `size` on.
  void shrink(size_t size) { all_.resize(size); }
  const std::vector<StepDifference>& all() const { return all_; }
  std::vector<StepDifference> take() { return std::move(all_); }

 private:
  std::string path_;
  std::set<std::string> seen_;  // layers
  std::vector<StepDifference> all_;
};

// What layers have in common that count or remember steps whether they are valid or not: `does`
// says which of these, as in "counts invalid steps".
StepDifference minds_early_steps(const EarlySteps& before, const std::string& does,
                                 const std::string& cure = "");

}  // namespace sl
