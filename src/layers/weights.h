// Where layers get their weights: named tensors, seen from a layer's own place in the tree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/allocator.h"
#include "core/tensor.h"

namespace sl {

// A set of named tensors.
class TensorSet {
 public:
  virtual ~TensorSet() = default;
  virtual const Tensor* find(const std::string& name) const = 0;
  virtual std::vector<std::string> names() const = 0;
};

// What was taken of a set, for the check that everything is used, and for counting parameters.
struct WeightUse {
  std::set<std::string> names;
  int64_t parameters = 0;
  // What the layers keep, counted as float32 where it is packed, and the most that they may.
  size_t bytes = 0;
  size_t max_bytes = kDefaultMaxBytes;
  // Who has a layer's name or a tensor, by JSON path: no two layers may have the same. A Repeat's
  // are one and the same.
  std::map<std::string, std::string> owners;
};

class WeightScope {
 public:
  WeightScope(const TensorSet* tensors, WeightUse* use) : tensors_(tensors), use_(use) {}

  // The scope of a child; an empty name shares this one.
  WeightScope child(std::string_view name) const;
  // That of the layer at a path from the model's root, names joined by dots, outside any Repeat:
  // the weights stay that layer's.
  WeightScope at_path(std::string_view path) const;
  // The name of a child in this scope, whether or not the child shares the scope, for the layer
  // whose config is at that JSON path. Fails if it is another's.
  void reserve(std::string_view name, const std::string& json_path) const;
  // The same scope, seen by that layer.
  WeightScope owned_by(const std::string& json_path) const;
  // Item `index` of weights that are stacked `count`-fold on their first axis.
  WeightScope slice(int64_t index, int64_t count) const;

  bool has(std::string_view name, std::string_view collection = "params") const;
  // Fails with name and both shapes if it is missing, misshapen or not of an accepted dtype: any
  // float for kFloat32, exactly the dtype else.
  Tensor get(std::string_view name, const Shape& expected, DType dtype = DType::kFloat32,
             std::string_view collection = "params") const;
  // The same of unknown rank.
  Tensor get_any(std::string_view name, std::string_view collection = "params") const;
  // As float32, converted if needed.
  std::vector<float> floats(std::string_view name, const Shape& expected,
                            std::string_view collection = "params") const;

  // A complex tensor where the layer's parameters are complex, else floats.
  TensorParts parts(std::string_view name, const Shape& expected, DType param_dtype) const;
  // Counts the `count` elements that a layer is about to make beside its weights. Fails if they are
  // more than the model may keep, or than the system has.
  void reserve_memory(int64_t count, size_t element = sizeof(float)) const;

  const WeightUse& use() const { return *use_; }

 private:
  struct Slice {
    int64_t index;
    int64_t count;
  };

  std::string path(std::string_view name, std::string_view collection) const;
  Tensor take(const std::string& name, const Tensor& tensor) const;

  const TensorSet* tensors_;  // null: no weights given
  WeightUse* use_;
  std::string prefix_;
  std::string owner_;
  bool borrows_ = false;
  std::vector<Slice> slices_;
};

// float32 values of a float tensor.
std::vector<float> to_floats(const Tensor& tensor);
TensorParts to_parts(const Tensor& tensor);

}  // namespace sl
