#include "layers/weights.h"

#include <algorithm>
#include <cstring>

#include "kernels/convert.h"
#include "kernels/packed.h"
#include "ops/elementwise.h"

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

// Fails if a layer needs the values of a tensor of which the file has only panels.
void require_data(const std::string& name, const Tensor& tensor) {
  if (tensor.data || tensor.shape.size() == 0) return;
  fail(
      Code::kWeights,
      "tensor \"{}\" is stored in packed form only, but its layer needs its values: pack the model "
      "again",
      name);
}

void count_bytes(WeightUse* use, size_t bytes) {
  use->bytes = checked_add(use->bytes, bytes);
  if (use->bytes > use->max_bytes) fail_too_large(use->bytes, use->max_bytes);
}

}  // namespace

const Tensor* WeightScope::find(const std::string& name) const {
  if (!tensors_) return nullptr;
  const Tensor* tensor = tensors_->find(name);
  return tensor ? tensor : tensors_->find_packed(name);
}

bool WeightScope::has(std::string_view name, std::string_view collection) const {
  return find(path(name, collection)) != nullptr;
}

Shape WeightScope::shape_of(std::string_view name) const {
  const std::string full = path(name, "params");
  const Tensor* tensor = find(full);
  if (!tensor) fail(Code::kWeights, "tensor \"{}\" is missing", full);
  return sliced(full, *tensor).shape;
}

// The part of a tensor or of panels that belongs to this repeat.
Tensor WeightScope::sliced(const std::string& name, const Tensor& tensor) const {
  Tensor out = tensor;
  check_empty(name, tensor.shape);
  for (const WeightSlice& slice : slices_) {
    if (out.shape.empty() || out.shape[0] != slice.count) {
      fail(Code::kWeights,
           "tensor \"{}\" is {}: expected {} stacked on the first axis, one for each repeat", name,
           to_string(tensor.shape), slice.count);
    }
    out.shape.erase(0);
    if (out.data) out.data += static_cast<size_t>(slice.index) * out.bytes();
  }
  use_->names.insert(name);
  return out;
}

Tensor WeightScope::take(const std::string& name, const Tensor& tensor) const {
  const Tensor out = sliced(name, tensor);
  if (borrows_) return out;
  const auto [it, is_new] = use_->owners.emplace(name, owner_);
  if (!is_new && it->second != owner_) {
    fail(
        Code::kConfig,
        "{}: tensor \"{}\" belongs to {}: layers that share a scope cannot have the same variables",
        owner_, name, it->second);
  }
  use_->parameters += out.shape.size();
  return out;
}

void WeightScope::keep(const std::string& name, const Tensor& tensor) const {
  use_->values.insert(name);
  require_data(name, tensor);
  if (borrows_) return;
  count_bytes(use_,
              checked_bytes(tensor.shape.size(), std::max(sizeof(float), size_of(tensor.dtype))));
  use_->weight_bytes[0] += static_cast<int64_t>(tensor.bytes());
}

void WeightScope::reserve_memory(int64_t count, size_t element) const {
  const size_t bytes = checked_bytes(count, element);
  count_bytes(use_, bytes);
  require_memory(bytes, use_->max_bytes);
}

WeightSource WeightScope::source_any(std::string_view name, std::string_view collection) const {
  std::string full = path(name, collection);
  const Tensor* tensor = find(full);
  if (!tensor) fail(Code::kWeights, "tensor \"{}\" is missing", full);
  const Tensor out = take(full, *tensor);
  return {std::move(full), out};
}

Tensor WeightScope::get_any(std::string_view name, std::string_view collection) const {
  const WeightSource source = source_any(name, collection);
  keep(source.name, source.tensor);
  return source.tensor;
}

WeightSource WeightScope::checked(std::string_view name, const Shape& expected, DType dtype,
                                  std::string_view collection) const {
  std::string full = path(name, collection);
  const Tensor* tensor = find(full);
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
  return {std::move(full), out};
}

Tensor WeightScope::get(std::string_view name, const Shape& expected, DType dtype,
                        std::string_view collection) const {
  const WeightSource source = checked(name, expected, dtype, collection);
  keep(source.name, source.tensor);
  return source.tensor;
}

WeightSource WeightScope::source(std::string_view name, const Shape& expected, DType dtype) const {
  return checked(name, expected, dtype, "params");
}

std::optional<ops::Panels> WeightScope::stored_panels(const std::string& name,
                                                      const ops::MatrixSizes& sizes) const {
  const StoredPanels* stored = tensors_ ? tensors_->find_panels(name) : nullptr;
  if (!stored) return std::nullopt;
  const Tensor bytes = sliced(name, stored->bytes);
  const auto wanted = static_cast<int64_t>(ops::Panels::bytes(stored->format, sizes));
  if (stored->sizes != sizes || bytes.shape != Shape{wanted}) {
    fail(Code::kWeights,
         "\"{}\" holds {} matrices [{}, {}] of {} in {} bytes: expected {} matrices [{}, {}] in {} "
         "bytes; pack the model again",
         name, stored->sizes.count, stored->sizes.inputs, stored->sizes.outputs,
         sl::name_of(stored->format), bytes.shape.size(), sizes.count, sizes.inputs, sizes.outputs,
         wanted);
  }
  return ops::Panels(stored->format, sizes, bytes.data);
}

// The format of the panels that are stored or are to be made of a kernel; float32 also if panels
// would take no fewer bytes than floats, as those of few filters.
WeightFormat WeightScope::kernel_format(const WeightSource& source) const {
  const StoredPanels* stored =
      tensors_ ? tensors_->find_panels(source.name + std::string(kPanelsSuffix)) : nullptr;
  if (stored) return stored->format;
  const WeightFormat format = wanted_format(source);
  const Shape& shape = source.tensor.shape;
  const int64_t size = shape.size();
  if (size == 0) return format;
  const bool shrinks = kernels::packed_bytes(format, size / shape.back(), shape.back()) <
                       size * int64_t{sizeof(float)};
  return shrinks ? format : WeightFormat::kFloat32;
}

// The format that the caller has asked for.
WeightFormat WeightScope::wanted_format(const WeightSource& source) const {
  return use_->formats.of(source.name).value_or(WeightFormat::kFloat32);
}

// The format that matrices of `sources` are to have.
WeightFormat WeightScope::wanted_format(const std::vector<WeightSource>& sources,
                                        const ops::MatrixSizes& sizes) const {
  const WeightFormat format = wanted_format(sources.front());
  for (const WeightSource& source : sources) {
    if (wanted_format(source) == format) continue;
    fail(Code::kInvalidArgument,
         "weight formats: \"{}\" is to be {} and \"{}\" {}, but they are one matrix: give both the "
         "same format",
         sources.front().name, sl::name_of(format), source.name,
         sl::name_of(wanted_format(source)));
  }
  return kernels::holds(format, sizes.inputs, sizes.outputs) ? format : WeightFormat::kFloat32;
}

// Fails if stored panels have another format than the caller has asked for.
void WeightScope::require_wanted(const std::string& name, const std::vector<WeightSource>& sources,
                                 WeightFormat stored, WeightFormat wanted) const {
  if (stored == wanted || !use_->formats.of(sources.front().name)) return;
  fail(Code::kInvalidArgument,
       "weight formats: \"{}\" is stored packed as {} and cannot become {}: pack the model again "
       "from its float weights",
       name, sl::name_of(stored), sl::name_of(wanted));
}

ops::Panels WeightScope::panels(const std::vector<WeightSource>& sources, const std::string& part,
                                const ops::MatrixSizes& sizes,
                                const ops::Panels::Fill& fill) const {
  std::string name = sources.front().name + std::string(kPanelsSuffix);
  if (!part.empty()) name += '.' + part;
  const WeightFormat format = wanted_format(sources, sizes);
  std::optional<ops::Panels> panels = stored_panels(name, sizes);
  if (panels) {
    require_wanted(name, sources, panels->format(), format);
    count_bytes(use_, panels->bytes());
  } else {
    for (const WeightSource& source : sources) require_data(source.name, source.tensor);
    count_bytes(use_, ops::Panels::bytes(format, sizes));
    if (use_->maker && format >= WeightFormat::kInt8)
      panels = use_->maker->make(name, slices_, format, sizes, fill);
    if (!panels) panels.emplace(format, sizes, fill);
  }
  use_->weight_bytes[static_cast<size_t>(panels->format())] +=
      static_cast<int64_t>(panels->bytes());
  WeightMatrix matrix{std::move(name), {}, slices_, *panels};
  for (const WeightSource& source : sources) matrix.sources.push_back(source.name);
  use_->matrices.push_back(std::move(matrix));
  return *panels;
}

namespace {

// A matrix [inputs, outputs] in memory.
struct MatrixView {
  const float* values;
  int64_t row_stride, column_stride;
};

// Views the values of a tensor, which are copied only if they must be converted.
MatrixView view_of(const Tensor& tensor, const MatrixForm& form, int64_t inputs, int64_t outputs,
                   std::vector<float>& copy) {
  const bool direct = tensor.dtype == DType::kFloat32 && tensor.data &&
                      form.rounded.value_or(DType::kFloat32) == DType::kFloat32;
  if (!direct) {
    copy = to_floats(tensor);
    if (form.rounded) ops::round_to(*form.rounded, copy.data(), static_cast<int64_t>(copy.size()));
  }
  const float* values = direct ? reinterpret_cast<const float*>(tensor.data) : copy.data();
  if (form.outputs_first) return {values, 1, inputs};
  return {values, outputs, 1};
}

}  // namespace

ops::Linear WeightScope::matrix(const std::vector<MatrixPart>& parts,
                                const MatrixForm& form) const {
  std::vector<WeightSource> sources;
  std::vector<int64_t> columns;
  ops::MatrixSizes sizes;
  for (const MatrixPart& part : parts) {
    Shape expected = part.expected;
    if (!sources.empty() && expected[0] == kAnySize) expected[0] = sources.front().tensor.shape[0];
    sources.push_back(source(part.name, expected));
    const Shape& shape = sources.back().tensor.shape;
    sizes.inputs = form.outputs_first ? shape[1] : shape.slice(0, form.input_axes).size();
    columns.push_back(form.outputs_first ? shape[0]
                                         : shape.slice(form.input_axes, shape.rank()).size());
    sizes.outputs += columns.back();
  }
  return ops::Linear(panels(sources, "", sizes, [&](const ops::Panels::Pack& pack) {
    std::vector<float> copy, all;
    if (sources.size() == 1) {
      const MatrixView view = view_of(sources[0].tensor, form, sizes.inputs, sizes.outputs, copy);
      return pack(0, view.values, view.row_stride, view.column_stride);
    }
    require_memory(checked_bytes(checked_product(sizes.inputs, sizes.outputs), sizeof(float)),
                   SIZE_MAX);
    all.resize(static_cast<size_t>(sizes.inputs * sizes.outputs));
    float* to = all.data();
    for (size_t i = 0; i < sources.size(); to += columns[i++]) {
      const MatrixView from = view_of(sources[i].tensor, form, sizes.inputs, columns[i], copy);
      for (int64_t p = 0; p < sizes.inputs; ++p) {
        for (int64_t j = 0; j < columns[i]; ++j) {
          to[p * sizes.outputs + j] = from.values[p * from.row_stride + j * from.column_stride];
        }
      }
    }
    pack(0, all.data(), sizes.outputs, 1);
  }));
}

std::vector<ops::Linear> WeightScope::matrices(std::string_view name, const Shape& expected,
                                               const MatrixForm& form) const {
  const WeightSource source = this->source(name, expected);
  const Shape& shape = source.tensor.shape;
  const Shape one = shape.slice(1, shape.rank());
  const ops::MatrixSizes sizes{shape[0], one.slice(0, form.input_axes).size(),
                               one.slice(form.input_axes, one.rank()).size()};
  const ops::Panels all = panels({source}, "", sizes, [&](const ops::Panels::Pack& pack) {
    std::vector<float> copy;
    const MatrixView view = view_of(source.tensor, form, sizes.inputs, sizes.outputs, copy);
    for (int64_t i = 0; i < sizes.count; ++i)
      pack(i, view.values + i * one.size(), view.row_stride, view.column_stride);
  });
  std::vector<ops::Linear> out;
  for (int64_t i = 0; i < sizes.count; ++i) out.emplace_back(all, i);
  return out;
}

ops::KernelParts WeightScope::kernel(const WeightSource& source) const {
  // Values that an operation reads while panels are filled are not kept. All others are.
  struct Reading {
    bool fills = false;
    bool counted = false;
  };
  const auto reading = std::make_shared<Reading>();
  const auto maker = [*this, source, reading](const std::string& part,
                                              const ops::MatrixSizes& sizes,
                                              const ops::Panels::Fill& fill) {
    return panels({source}, part, sizes, [&](const ops::Panels::Pack& pack) {
      reading->fills = true;
      fill(pack);
      reading->fills = false;
    });
  };
  const auto parts = [use = use_, source, reading] {
    require_data(source.name, source.tensor);
    if (!reading->fills && !reading->counted) {
      count_bytes(use, source.tensor.bytes());
      use->weight_bytes[0] += static_cast<int64_t>(source.tensor.bytes());
      reading->counted = true;
    }
    return to_parts(source.tensor);
  };
  const Tensor& tensor = source.tensor;
  ops::KernelParts out;
  out.real = {tensor.shape, kernel_format(source), [parts] { return parts().real; }, maker};
  if (tensor.dtype == DType::kComplex64) {
    out.imaginary = out.real.part("imaginary", tensor.shape, [parts] { return parts().imaginary; });
  }
  return out;
}

ops::KernelParts WeightScope::kernel(std::string_view name, const Shape& expected,
                                     DType param_dtype) const {
  const bool is_complex = param_dtype == DType::kComplex64;
  return kernel(source(name, expected, is_complex ? DType::kComplex64 : DType::kFloat32));
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
