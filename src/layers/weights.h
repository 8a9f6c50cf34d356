// Access to weights: named tensors, as seen from the position of a layer in the tree.
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

// Records which tensors layers have read, to check that all are used and to count parameters.
struct WeightUse {
  std::set<std::string> names;
  int64_t parameters = 0;
  // The number of bytes that layers keep (packed weights count as float32) and its maximum.
  size_t bytes = 0;
  size_t max_bytes = kDefaultMaxBytes;
  // The owner of each layer name and tensor, by JSON path, because no two layers may have the same.
  // The repeats of a Repeat count as one layer.
  std::map<std::string, std::string> owners;
};

class WeightScope {
 public:
  WeightScope(const TensorSet* tensors, WeightUse* use) : tensors_(tensors), use_(use) {}

  // The scope of a child; an empty name shares this one.
  WeightScope child(std::string_view name) const;
  // The scope of the layer at a path from the root of the model, with names joined by dots, outside
  // any Repeat. That layer still owns the weights.
  WeightScope at_path(std::string_view path) const;
  // Reserves the name of a child in this scope, even if the child shares the scope, for the layer
  // with the config at that JSON path. Fails if another layer has the name.
  void reserve(std::string_view name, const std::string& json_path) const;
  // This scope, owned by the layer with the config at that JSON path.
  WeightScope owned_by(const std::string& json_path) const;
  // Item `index` of weights that are stacked `count`-fold on their first axis.
  WeightScope slice(int64_t index, int64_t count) const;

  bool has(std::string_view name, std::string_view collection = "params") const;
  // Reads a tensor. Fails, with name and both shapes, if it is missing or has another shape or
  // dtype. kFloat32 accepts any float dtype, other dtypes only themselves.
  Tensor get(std::string_view name, const Shape& expected, DType dtype = DType::kFloat32,
             std::string_view collection = "params") const;
  // Reads a tensor of any dtype and shape.
  Tensor get_any(std::string_view name, std::string_view collection = "params") const;
  // Reads a tensor of floats, converted to float32.
  std::vector<float> floats(std::string_view name, const Shape& expected,
                            std::string_view collection = "params") const;

  // Reads a complex tensor if `param_dtype` is complex, otherwise floats.
  TensorParts parts(std::string_view name, const Shape& expected, DType param_dtype) const;
  // Counts `count` elements that a layer is about to allocate besides its weights. Fails if they
  // exceed the maximum of the model or the memory of the system.
  void reserve_memory(int64_t count, size_t element = sizeof(float)) const;

  const WeightUse& use() const { return *use_; }

 private:
  struct Slice {
    int64_t index;
    int64_t count;
  };

  std::string path(std::string_view name, std::string_view collection) const;
  Tensor take(const std::string& name, const Tensor& tensor) const;

  const TensorSet* tensors_;  // null: no weights were given
  WeightUse* use_;
  std::string prefix_;
  std::string owner_;
  bool borrows_ = false;
  std::vector<Slice> slices_;
};

// The values of a float tensor as float32.
std::vector<float> to_floats(const Tensor& tensor);
TensorParts to_parts(const Tensor& tensor);

}  // namespace sl
