// Access to weights: named tensors, as seen from the position of a layer in the tree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/allocator.h"
#include "core/tensor.h"
#include "layers/weight_formats.h"
#include "ops/linear.h"
#include "ops/panels.h"

namespace sl {

// Ends the name of panels in a weights file, after that of the tensor of which they are made; a
// part follows it.
constexpr std::string_view kPanelsSuffix = "@panels";

// Panels in a weights file: int8 [repeats..., bytes], one axis of repeats for each Repeat around
// the layer.
struct StoredPanels {
  WeightFormat format = WeightFormat::kFloat32;
  ops::MatrixSizes sizes;
  Tensor bytes;
};

// A set of named tensors.
class TensorSet {
 public:
  virtual ~TensorSet() = default;
  virtual const Tensor* find(const std::string& name) const = 0;
  virtual std::vector<std::string> names() const = 0;
  // A tensor of which only panels are stored, without data; null if there is none of that name.
  virtual const Tensor* find_packed(const std::string&) const { return nullptr; }
  // Null if there are none of that name.
  virtual const StoredPanels* find_panels(const std::string&) const { return nullptr; }
};

// One repeat of weights that are stacked on their first axis.
struct WeightSlice {
  int64_t index;
  int64_t count;
};

// Matrices that a layer has made.
struct WeightMatrix {
  std::string name;                  // of the panels in a file
  std::vector<std::string> sources;  // names of the tensors of which they are made
  std::vector<WeightSlice> slices;
  ops::Panels panels;
};

// Makes matrices of int8 and int4 in another way than by rounding weights to the nearest.
class MatrixMaker {
 public:
  virtual ~MatrixMaker() = default;
  // Makes the matrices of that name in a file, for one repeat; nothing: they are to be rounded to
  // the nearest.
  virtual std::optional<ops::Panels> make(const std::string& name,
                                          const std::vector<WeightSlice>& slices,
                                          WeightFormat format, const ops::MatrixSizes& sizes,
                                          const ops::Panels::Fill& fill) = 0;
};

// Records which tensors layers have read, to check that all are used and to count parameters.
struct WeightUse {
  std::set<std::string> names;   // of all tensors and stored panels that layers have asked for
  std::set<std::string> values;  // of those tensors that are not only read to make matrices
  std::vector<WeightMatrix> matrices;
  WeightFormats formats;  // in which matrices are packed, if the file does not have them packed
  MatrixMaker* maker = nullptr;
  int64_t parameters = 0;
  // The number of bytes that layers keep (tensors that are no matrices count as float32) and its
  // maximum.
  size_t bytes = 0;
  WeightBytes weight_bytes = {};  // of tensors and matrices
  size_t max_bytes = kDefaultMaxBytes;
  // The owner of each layer name and tensor, by JSON path, because no two layers may have the same.
  // The repeats of a Repeat count as one layer.
  std::map<std::string, std::string> owners;
};

// A tensor of which a layer makes matrices. It has no data if these are stored packed.
struct WeightSource {
  std::string name;  // in the file
  Tensor tensor;
};

// How tensors lie as a matrix [inputs, outputs].
struct MatrixForm {
  int input_axes = 1;          // the number of axes of inputs, which precede those of outputs
  bool outputs_first = false;  // two axes, [outputs, inputs]
  std::optional<DType> rounded = std::nullopt;  // to which elements are rounded
};

// A tensor that provides some of the outputs of a matrix.
struct MatrixPart {
  std::string name;
  Shape expected;
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
  // The shape of a tensor that is read later.
  Shape shape_of(std::string_view name) const;
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

  // Every matrix is made by one of these, so that it can be packed in any weight format or lie
  // packed in the file.

  // The matrix that a tensor of floats is.
  ops::Linear matrix(std::string_view name, const Shape& expected,
                     const MatrixForm& form = {}) const {
    return matrix({{std::string(name), expected}}, form);
  }
  // The matrix of several tensors of floats with the same inputs, their outputs side by side. If
  // the first axis of a tensor may have any size, it has that of the tensor before.
  ops::Linear matrix(const std::vector<MatrixPart>& parts, const MatrixForm& form = {}) const;
  // The matrices [inputs, outputs] that a tensor has stacked on its first axis.
  std::vector<ops::Linear> matrices(std::string_view name, const Shape& expected,
                                    const MatrixForm& form = {}) const;
  // A tensor of which an operation makes its matrices. It is complex if `param_dtype` is.
  ops::KernelParts kernel(std::string_view name, const Shape& expected, DType param_dtype) const;
  ops::KernelParts kernel(const WeightSource& source) const;
  // Checks a tensor as `get` does.
  WeightSource source(std::string_view name, const Shape& expected,
                      DType dtype = DType::kFloat32) const;
  // Finds a tensor of any dtype and shape.
  WeightSource source_any(std::string_view name, std::string_view collection = "params") const;
  // Matrices that are computed from `sources`. They are named after the first source and `part`,
  // which tells several matrices of one tensor apart. `fill` reads the data of the sources, and is
  // not called if the panels are stored.
  ops::Panels panels(const std::vector<WeightSource>& sources, const std::string& part,
                     const ops::MatrixSizes& sizes, const ops::Panels::Fill& fill) const;

  // Counts `count` elements that a layer is about to allocate besides its weights. Fails if they
  // exceed the maximum of the model or the memory of the system.
  void reserve_memory(int64_t count, size_t element = sizeof(float)) const;

  const WeightUse& use() const { return *use_; }

 private:
  std::string path(std::string_view name, std::string_view collection) const;
  Tensor sliced(const std::string& name, const Tensor& tensor) const;
  Tensor take(const std::string& name, const Tensor& tensor) const;
  // Counts a tensor that a layer keeps as it is.
  void keep(const std::string& name, const Tensor& tensor) const;
  const Tensor* find(const std::string& name) const;
  WeightSource checked(std::string_view name, const Shape& expected, DType dtype,
                       std::string_view collection) const;
  WeightFormat kernel_format(const WeightSource& source) const;
  WeightFormat wanted_format(const WeightSource& source) const;
  WeightFormat wanted_format(const std::vector<WeightSource>& sources,
                             const ops::MatrixSizes& sizes) const;
  void require_wanted(const std::string& name, const std::vector<WeightSource>& sources,
                      WeightFormat stored, WeightFormat wanted) const;
  std::optional<ops::Panels> stored_panels(const std::string& name,
                                           const ops::MatrixSizes& sizes) const;

  const TensorSet* tensors_;  // null: no weights were given
  WeightUse* use_;
  std::string prefix_;
  std::string owner_;
  bool borrows_ = false;
  std::vector<WeightSlice> slices_;
};

// The values of a float tensor as float32. Fails if the tensor has no data.
std::vector<float> to_floats(const Tensor& tensor);
TensorParts to_parts(const Tensor& tensor);

}  // namespace sl
