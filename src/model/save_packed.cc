// Writes the weights of a model as it holds them.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <vector>

#include "core/file.h"
#include "core/status.h"
#include "model/model.h"
#include "model/packed_index.h"

namespace sl {
namespace {

// A tensor to be written, with its data in pieces.
struct Entry {
  std::string name;
  std::string_view dtype;
  Shape shape;
  std::vector<std::span<const std::byte>> pieces;

  size_t bytes() const {
    size_t sum = 0;
    for (const auto& piece : pieces) sum += piece.size();
    return sum;
  }
};

// The position of an item of nested repeats among all of them.
size_t flat_index(const std::vector<WeightSlice>& slices) {
  int64_t index = 0;
  for (const WeightSlice& slice : slices) index = index * slice.count + slice.index;
  return static_cast<size_t>(index);
}

// Adds panels: those of all repeats are one tensor.
void add_panels(const std::vector<WeightMatrix>& matrices, std::vector<Entry>& entries,
                PackedIndex& index) {
  std::map<std::string, Entry> by_name;
  for (const WeightMatrix& matrix : matrices) {
    const ops::Panels& panels = matrix.panels;
    Entry& entry = by_name[matrix.name];
    if (entry.name.empty()) {
      entry.name = matrix.name;
      entry.dtype = info_of(DType::kInt8).stored;
      size_t count = 1;
      for (const WeightSlice& slice : matrix.slices) {
        entry.shape.push_back(slice.count);
        count *= static_cast<size_t>(slice.count);
      }
      entry.shape.push_back(static_cast<int64_t>(panels.bytes()));
      entry.pieces.resize(count);
      index.panels[matrix.name] = {panels.format(), panels.sizes(), {}};
    }
    entry.pieces[flat_index(matrix.slices)] = {panels.data(), panels.bytes()};
  }
  for (auto& [name, entry] : by_name) entries.push_back(std::move(entry));
}

// Adds the tensors whose values a layer needs, and to the index those that are only in panels.
void add_tensors(const TensorStore& store, const WeightUse& use, std::vector<Entry>& entries,
                 PackedIndex& index) {
  std::set<std::string> packed;
  for (const WeightMatrix& matrix : use.matrices)
    packed.insert(matrix.sources.begin(), matrix.sources.end());
  index.tensors = store.packed_tensors();
  std::vector<Entry> tensors;
  for (const std::string& name : store.names()) {
    const Tensor* tensor = store.find(name);
    if (!tensor || store.find_panels(name) || !use.names.contains(name)) continue;
    if (packed.contains(name) && !use.values.contains(name)) {
      index.tensors[name] = {tensor->dtype, tensor->shape, nullptr};
      continue;
    }
    Entry entry{
        name, info_of(tensor->dtype).stored, tensor->shape, {{tensor->data, tensor->bytes()}}};
    if (tensor->dtype == DType::kComplex64) {
      entry.name += kComplexSuffix;
      entry.dtype = info_of(DType::kFloat32).stored;
      entry.shape.push_back(2);
    }
    tensors.push_back(std::move(entry));
  }
  // Elements of 4 bytes come before smaller ones, so that all are aligned.
  std::stable_partition(tensors.begin(), tensors.end(), [](const Entry& entry) {
    return entry.dtype == info_of(DType::kFloat32).stored ||
           entry.dtype == info_of(DType::kInt32).stored;
  });
  std::ranges::move(tensors, std::back_inserter(entries));
}

// The header of the file, padded so that the data after it is aligned.
std::string header_of(const std::vector<Entry>& entries, const TensorStore::Metadata& metadata) {
  std::string text = fmt::format("{{\"__metadata__\":{}", Json(metadata).dump());
  size_t begin = 0;
  for (const Entry& entry : entries) {
    const size_t end = begin + entry.bytes();
    text +=
        fmt::format(",{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                    Json(entry.name).dump(), entry.dtype, fmt::join(entry.shape, ","), begin, end);
    begin = end;
  }
  text += '}';
  const size_t used = sizeof(uint64_t) + text.size();
  return text + std::string(align_up(used) - used, ' ');
}

}  // namespace

void Model::save_packed(const std::string& path) const {
  if (!weights_) fail(Code::kInvalidArgument, "the layer has no weights");
  PackedIndex index;
  index.fingerprint = weights_->fingerprint();
  std::vector<Entry> entries;
  add_panels(use_.matrices, entries, index);
  add_tensors(*weights_, use_, entries, index);
  TensorStore::Metadata metadata = weights_->metadata();
  metadata[std::string(kPackedKey)] = index.text();
  const std::string header = header_of(entries, metadata);
  const uint64_t size = header.size();
  NewFile file(path);
  file.write(&size, sizeof(size));
  file.write(header.data(), header.size());
  for (const Entry& entry : entries) {
    for (const auto& piece : entry.pieces) file.write(piece.data(), piece.size());
  }
  file.finish();
}

}  // namespace sl
