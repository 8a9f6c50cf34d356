// The constants that a model's layers read, and the check of those that a caller gives.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "layers/layer.h"

namespace sl {

struct ConstantUse {
  ConstantSpec spec;
  std::string path;    // path of the layer that reads the constant
  std::string reader;  // type and path of that layer, for messages
};

class ConstantTable {
 public:
  ConstantTable() = default;
  // Fails if two layers expect a constant of the same name to have different kinds, dtypes or
  // shapes.
  explicit ConstantTable(const Layer& root);

  // One entry for each name, in the order of the layer tree. It merges what all readers of the
  // constant know about it.
  const std::vector<ConstantUse>& all() const { return merged_; }
  // Null if no layer reads a constant of that name.
  const ConstantSpec* find(std::string_view name) const;
  // Fails if a required constant is missing or does not fit what a layer reads. A batch of 0 leaves
  // the batch open.
  void check(const Constants& given, int64_t batch) const;
  // Fails if one layer reads a constant block by block and another reads it as a whole.
  void check_streaming() const;

 private:
  void collect(const Layer& layer, const std::string& path);
  void merge(const ConstantUse& use);

  std::vector<ConstantUse> uses_;
  std::vector<ConstantUse> merged_;
  std::unordered_map<std::string, size_t> indices_;  // name to index in `merged_`
};

}  // namespace sl
