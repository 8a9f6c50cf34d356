#include "layers/weights.h"

#include <algorithm>
#include <cstring>

#include "kernels/convert.h"

namespace sl {

WeightScope WeightScope::child(std::string_view name) const {
  WeightScope out = *this;
  if (name.empty()) return out;
  if (!out.prefix_.empty()) out.prefix_ += '.';
  out.prefix_ += name;
  return out;
}

WeightScope WeightScope::at_path(std::string_view path) const {
  WeightScope out(tensors_, use_);
  out.prefix_ = path;
  out.borrows_ = true;
  return out;
}

void WeightScope::reserve(std::string_view name, const std::string& json_path) const {
  const auto [it, is_new] = use_->owners.emplace(child(name).prefix_, json_path);
  if (is_new || it->second == json_path) return;
  fail(Code::kConfig,
       "{}: the name \"{}\" is taken by {}: layers of one scope need different names", json_path,
       name, it->second);
}

WeightScope WeightScope::owned_by(const std::string& json_path) const {
  WeightScope out = *this;
  out.owner_ = json_path;
  return out;
}

WeightScope WeightScope::slice(int64_t index, int64_t count) const {
  WeightScope out = *this;
  out.slices_.push_back({index, count});
  return out;
}

std::string WeightScope::path(std::string_view name, std::string_view collection) const {
  std::string out(collection);
  if (!prefix_.empty()) out += '.' + prefix_;
  return out + '.' + std::string(name);
}

namespace {

// A tensor without elements takes no bytes in a file, whatever its other sizes are. These are
// limited, because layers may loop over them.
void check_empty(const std::string& name, const Shape& shape) {
  if (std::ranges::find(shape, 0) == shape.end()) return;
  constexpr int64_t kMax = int64_t{1} << 24;
  int64_t size = 1;
  for (int64_t dim : shape) size = checked_product(size, std::max<int64_t>(dim, 1));
  if (size > kMax)
    fail(Code::kWeights, "tensor \"{}\" is {}: it has no elements", name, to_string(shape));
}

void count_bytes(WeightUse* use, size_t bytes) {
  use->bytes = checked_add(use->bytes, bytes);
  if (use->bytes > use->max_bytes) fail_too_large(use->bytes, use->max_bytes);
}

}  // namespace

bool WeightScope::has(std::string_view name, std::string_view collection) const {
  return tensors_ && tensors_->find(path(name, collection)) != nullptr;
}

Tensor WeightScope::take(const std::string& name, const Tensor& tensor) const {
  Tensor out = tensor;
  check_empty(name, tensor.shape);
  for (const Slice& slice : slices_) {
    if (out.shape.empty() || out.shape[0] != slice.count) {
      fail(Code::kWeights,
           "tensor \"{}\" is {}: expected {} stacked on the first axis, one for each repeat", name,
           to_string(tensor.shape), slice.count);
    }
    out.shape.erase(0);
    out.data += static_cast<size_t>(slice.index) * out.bytes();
  }
  use_->names.insert(name);
  if (borrows_) return out;
  const auto [it, is_new] = use_->owners.emplace(name, owner_);
  if (!is_new && it->second != owner_) {
    fail(
        Code::kConfig,
        "{}: tensor \"{}\" belongs to {}: layers that share a scope cannot have the same variables",
        owner_, name, it->second);
  }
  use_->parameters += out.shape.size();
  count_bytes(use_, checked_bytes(out.shape.size(), std::max(sizeof(float), size_of(out.dtype))));
  return out;
}

void WeightScope::reserve_memory(int64_t count, size_t element) const {
  const size_t bytes = checked_bytes(count, element);
  count_bytes(use_, bytes);
  require_memory(bytes, use_->max_bytes);
}

Tensor WeightScope::get_any(std::string_view name, std::string_view collection) const {
  const std::string full = path(name, collection);
  const Tensor* tensor = tensors_ ? tensors_->find(full) : nullptr;
  if (!tensor) fail(Code::kWeights, "tensor \"{}\" is missing", full);
  return take(full, *tensor);
}

Tensor WeightScope::get(std::string_view name, const Shape& expected, DType dtype,
                        std::string_view collection) const {
  const std::string full = path(name, collection);
  const Tensor* tensor = tensors_ ? tensors_->find(full) : nullptr;
  if (!tensor) {
    fail(Code::kWeights, "tensor \"{}\" is missing: expected {} {}", full, name_of(dtype),
         to_string(expected));
  }
  const Tensor out = take(full, *tensor);
  const bool accepted = dtype == DType::kFloat32 ? is_float(out.dtype) : out.dtype == dtype;
  if (!accepted) {
    fail(Code::kWeights, "tensor \"{}\" is of dtype {}: expected {}", full, name_of(out.dtype),
         dtype == DType::kFloat32 ? "float32, float16 or bfloat16" : name_of(dtype));
  }
  if (!matches(out.shape, expected)) {
    fail(Code::kWeights, "tensor \"{}\" is {}: expected {}", full, to_string(out.shape),
         to_string(expected));
  }
  return out;
}

std::vector<float> WeightScope::floats(std::string_view name, const Shape& expected,
                                       std::string_view collection) const {
  return to_floats(get(name, expected, DType::kFloat32, collection));
}

TensorParts WeightScope::parts(std::string_view name, const Shape& expected,
                               DType param_dtype) const {
  const bool is_complex = param_dtype == DType::kComplex64;
  return to_parts(get(name, expected, is_complex ? DType::kComplex64 : DType::kFloat32));
}

TensorParts to_parts(const Tensor& tensor) {
  TensorParts out;
  out.shape = tensor.shape;
  if (tensor.dtype != DType::kComplex64) {
    out.real = to_floats(tensor);
    return out;
  }
  require_memory(checked_bytes(tensor.shape.size(), 2 * sizeof(complex64)), SIZE_MAX);
  std::vector<complex64> values(static_cast<size_t>(tensor.shape.size()));
  if (!values.empty()) std::memcpy(values.data(), tensor.data, tensor.bytes());
  for (const complex64& value : values) {
    out.real.push_back(value.real());
    out.imaginary.push_back(value.imag());
  }
  return out;
}

std::vector<float> to_floats(const Tensor& tensor) {
  require_memory(checked_bytes(tensor.shape.size(), sizeof(float)), SIZE_MAX);
  std::vector<float> out(static_cast<size_t>(tensor.shape.size()));
  if (out.empty()) return out;
  const auto* halves = reinterpret_cast<const uint16_t*>(tensor.data);
  switch (tensor.dtype) {
    case DType::kBFloat16:
      kernels::bf16_to_f32(halves, out.data(), tensor.shape.size());
      break;
    case DType::kFloat16:
      kernels::f16_to_f32(halves, out.data(), tensor.shape.size());
      break;
    default:
      std::memcpy(out.data(), tensor.data, tensor.bytes());
  }
  return out;
}

}  // namespace sl
