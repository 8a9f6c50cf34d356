// The constants that a model's layers read, and the check of those that a caller gives.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "layers/layer.h"

namespace sl {

struct ConstantUse {
  ConstantSpec spec;
  std::string path;    // of the layer that reads it
  std::string reader;  // its type and path, for messages
};

class ConstantTable {
 public:
  ConstantTable() = default;
  // Fails if two layers read one constant in ways that cannot both be.
  explicit ConstantTable(const Layer& root);

  // One for each name, in the order of the tree: what all its readers say of it together.
  const std::vector<ConstantUse>& all() const { return merged_; }
  // Null if no layer reads one of that name.
  const ConstantSpec* find(std::string_view name) const;
  // Fails if one is missing, or is not what a layer reads. A batch of 0 stands for any.
  void check(const Constants& given, int64_t batch) const;
  // Fails if a stream cannot give each layer what it reads.
  void check_streaming() const;

 private:
  void collect(const Layer& layer, const std::string& path);
  void merge(const ConstantUse& use);

  std::vector<ConstantUse> uses_;
  std::vector<ConstantUse> merged_;
  std::unordered_map<std::string, size_t> indices_;  // in `merged_`
};

}  // namespace sl
