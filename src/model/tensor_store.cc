#include "model/tensor_store.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/file.h"
#include "core/json_text.h"
#include "core/status.h"

namespace sl {
namespace {

// The limits of the safetensors library.
constexpr uint64_t kMaxHeader = 100'000'000;
constexpr int kMaxHeaderDepth = 127;

}  // namespace

// The bytes of a safetensors file.
struct TensorStore::Image {
  const std::byte* data = nullptr;
  size_t size = 0;
  void* mapping = nullptr;
  std::optional<File> file;  // the mapped file, if the bytes come from one
  std::vector<std::byte> copy;

  Image() = default;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  ~Image() {
    if (mapping) munmap(mapping, size);
  }
};

std::shared_ptr<TensorStore> TensorStore::open(const std::string& path) {
  auto image = std::make_shared<Image>();
  const File& file = image->file.emplace(path);
  image->mapping = file.map();
  image->size = file.size();
  image->data = static_cast<const std::byte*>(image->mapping);
  auto store = std::make_shared<TensorStore>();
  store->file_ = &file;
  store->parse(std::move(image), path);
  return store;
}

std::shared_ptr<TensorStore> TensorStore::read(const void* data, size_t size) {
  auto image = std::make_shared<Image>();
  const auto* bytes = static_cast<const std::byte*>(data);
  image->copy.assign(bytes, bytes + size);
  image->data = image->copy.data();
  image->size = size;
  auto store = std::make_shared<TensorStore>();
  store->parse(std::move(image), "weights in memory");
  return store;
}

namespace {

// Fails unless the product of the sizes fits, even without those that are zero.
Shape parse_shape(const Json& value, DType dtype, const std::string& where) {
  Shape shape;
  if (!value.is_array() || value.size() > Shape::kMaxRank)
    fail(Code::kWeights, "{}: bad \"shape\"", where);
  auto bytes = static_cast<int64_t>(size_of(dtype));
  for (const auto& dim : value) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > (uint64_t{1} << 40)) {
      fail(Code::kWeights, "{}: bad \"shape\"", where);
    }
    shape.push_back(dim.get<int64_t>());
    if (!fits_product(bytes, std::max<int64_t>(shape.back(), 1), &bytes)) {
      fail(Code::kWeights, "{}: bad \"shape\"", where);
    }
  }
  return shape;
}

struct FileEntry {
  std::string name;
  std::string where;  // names the tensor in messages
  Tensor tensor;      // without data
  size_t begin = 0;
  size_t end = 0;
};

// "F32, F16 or I8"
std::string stored_names() {
  std::vector<std::string_view> names;
  for (const DTypeInfo& info : kDTypeInfos) {
    if (!info.stored.empty()) names.push_back(info.stored);
  }
  const std::string_view last = names.back();
  names.pop_back();
  return fmt::format("{} or {}", fmt::join(names, ", "), last);
}

DType parse_dtype(const Json& dtype, const std::string& where) {
  const auto name = dtype.is_string() ? std::string_view(dtype.get_ref<const std::string&>())
                                      : std::string_view();
  const auto* stored = std::ranges::find(kDTypeInfos, name, &DTypeInfo::stored);
  if (name.empty() || stored == std::end(kDTypeInfos)) {
    // Quote only values that do not nest, because deep nesting could exhaust the stack.
    fail(Code::kWeights, "{}: dtype {} is not read: expected {}", where,
         dtype.is_structured() ? dtype.type_name() : dtype.dump(), stored_names());
  }
  return stored->dtype;
}

// Ignores unknown fields, as the safetensors library does.
FileEntry parse_entry(const std::string& name, const Json& value, const std::string& source,
                      size_t data_size) {
  FileEntry entry{
      .name = name, .where = fmt::format("{}: tensor \"{}\"", source, name), .tensor = {}};
  const std::string& where = entry.where;
  if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets")) {
    fail(Code::kWeights, "{}: needs \"dtype\", \"shape\" and \"data_offsets\"", where);
  }
  const DType dtype = parse_dtype(value["dtype"], where);
  entry.tensor.dtype = dtype;
  entry.tensor.shape = parse_shape(value["shape"], dtype, where);
  const auto& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    fail(Code::kWeights, "{}: bad \"data_offsets\"", where);
  }
  entry.begin = offsets[0].get<size_t>();
  entry.end = offsets[1].get<size_t>();
  if (entry.begin > entry.end || entry.end > data_size) {
    fail(Code::kWeights,
         "{}: its data [{}, {}) is not within the {} bytes of the file: is it cut short?", where,
         entry.begin, entry.end, data_size);
  }
  if (entry.end - entry.begin != entry.tensor.bytes()) {
    fail(Code::kWeights, "{}: {} {} takes {} bytes, its data_offsets hold {}", where,
         info_of(dtype).stored, to_string(entry.tensor.shape), entry.tensor.bytes(),
         entry.end - entry.begin);
  }
  return entry;
}

TensorStore::Metadata parse_metadata(const Json& value, const std::string& source) {
  TensorStore::Metadata metadata;
  if (value.is_null()) return metadata;
  if (!value.is_object()) {
    fail(Code::kWeights, "{}: \"__metadata__\": expected an object of strings, got {}", source,
         value.type_name());
  }
  for (const auto& [key, text] : value.get_ref<const Json::object_t&>()) {
    if (!text.is_string()) {
      fail(Code::kWeights, "{}: metadata \"{}\": expected a string, got {}", source, key,
           text.is_structured() ? text.type_name() : text.dump());
    }
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

// Fails unless the data of the tensors fills the file after the header without gaps or overlaps.
void check_layout(std::vector<FileEntry>& entries, const std::string& source, size_t data_size) {
  std::ranges::sort(entries, {}, [](const FileEntry& e) { return std::pair(e.begin, e.end); });
  size_t end = 0;
  for (const FileEntry& entry : entries) {
    if (entry.begin != end) {
      fail(Code::kWeights, "{}: its data begins at {}, but the tensor before it ends at {}",
           entry.where, entry.begin, end);
    }
    end = entry.end;
  }
  if (end != data_size) {
    fail(Code::kWeights, "{}: {} bytes that belong to no tensor follow the last one's data", source,
         data_size - end);
  }
}

// The text of the header, which the data follows.
std::string_view header_of(const std::byte* data, size_t size, const std::string& source) {
  uint64_t header_size = 0;
  if (size < sizeof(header_size))
    fail(Code::kWeights, "{}: not a safetensors file: {} bytes", source, size);
  std::memcpy(&header_size, data, sizeof(header_size));
  if (header_size > kMaxHeader || header_size > size - sizeof(header_size)) {
    fail(Code::kWeights, "{}: not a safetensors file: its header would have {} bytes{}", source,
         header_size,
         header_size > kMaxHeader ? fmt::format(", at most {} are allowed", kMaxHeader)
                                  : fmt::format(" of the file's {}", size));
  }
  return {reinterpret_cast<const char*>(data) + sizeof(header_size),
          static_cast<size_t>(header_size)};
}

JsonDocument parse_header(std::string_view text, const std::string& source) {
  try {
    JsonDocument header = parse_json(text, kMaxHeaderDepth);
    if (header.value().is_object()) return header;
  } catch (const JsonError& error) {
    fail(Code::kWeights, "{}: not a safetensors file: its header: {}: {}", source, error.path(),
         error.what());
  }
  fail(Code::kWeights, "{}: not a safetensors file: its header is not a JSON object", source);
}

}  // namespace

void TensorStore::parse(std::shared_ptr<const Image> image, const std::string& source) {
  const std::string_view text = header_of(image->data, image->size, source);
  const JsonDocument header = parse_header(text, source);
  const size_t data_begin = sizeof(uint64_t) + text.size();
  const size_t data_size = image->size - data_begin;
  std::vector<FileEntry> entries;
  for (const auto& [name, value] : header.value().get_ref<const Json::object_t&>()) {
    if (name == "__metadata__") {
      metadata_ = parse_metadata(value, source);
    } else {
      entries.push_back(parse_entry(name, value, source, data_size));
    }
  }
  check_layout(entries, source, data_size);
  for (FileEntry& entry : entries) {
    entry.tensor.data = image->data + data_begin + entry.begin;
    insert(std::move(entry.name), entry.tensor, entry.where);
  }
  owners_.push_back(std::move(image));
  if (const std::string* packed = metadata(kPackedKey))
    adopt(PackedIndex::parse(*packed, source), source);
  for (const auto& [name, tensor] : tensors_) order_.push_back(&name);
}

void TensorStore::insert(std::string name, Tensor tensor, const std::string& where) {
  if (name.ends_with(kComplexSuffix)) {
    if (tensor.dtype != DType::kFloat32 || tensor.shape.empty() || tensor.shape.back() != 2)
      fail(Code::kWeights, "{}: a complex tensor is F32 with a last axis of 2", where);
    tensor.shape.pop_back();
    tensor.dtype = DType::kComplex64;
    name.resize(name.size() - kComplexSuffix.size());
  }
  if (tensors_.contains(name)) {
    fail(Code::kWeights, "{}: there is a tensor \"{}\" and also a \"{}{}\"", where, name, name,
         kComplexSuffix);
  }
  const bool aligned =
      reinterpret_cast<uintptr_t>(tensor.data) % 4 == 0 || size_of(tensor.dtype) == 1;
  // The data of a file is misaligned if the length of its header is odd.
  tensors_.emplace(std::move(name), aligned ? tensor : copy(tensor));
}

// Takes the index of packed matrices, whose bytes are tensors of the file.
void TensorStore::adopt(PackedIndex index, const std::string& source) {
  packed_ = std::move(index);
  for (const auto& [name, tensor] : packed_.tensors) {
    if (tensors_.contains(name) || packed_.panels.contains(name))
      fail(Code::kWeights, "{}: there are two tensors \"{}\"", source, name);
  }
  for (auto& [name, panels] : packed_.panels) {
    const auto at = tensors_.find(name);
    if (at == tensors_.end() || at->second.dtype != DType::kInt8) {
      fail(Code::kWeights, "{}: the panels \"{}\" are {}: expected int8", source, name,
           at == tensors_.end() ? "missing" : name_of(at->second.dtype));
    }
    panels.bytes = at->second;
    if (reinterpret_cast<uintptr_t>(at->second.data) % kAlignment == 0) continue;
    // Another tool has written the file anew.
    auto block = std::make_shared<Block>(at->second.bytes(), Allocator());
    std::copy_n(at->second.data, at->second.bytes(), block->data());
    panels.bytes.data = block->data();
    owners_.push_back(std::move(block));
  }
}

void TensorStore::check_unchanged() const {
  if (file_) file_->check_unchanged();
}

void TensorStore::touch_panels() const {
  for (const auto& [name, panels] : packed_.panels)
    touch_pages(panels.bytes.data, panels.bytes.bytes());
}

const Tensor* TensorStore::find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

const Tensor* TensorStore::find_packed(const std::string& name) const {
  const auto it = packed_.tensors.find(name);
  return it == packed_.tensors.end() ? nullptr : &it->second;
}

const StoredPanels* TensorStore::find_panels(const std::string& name) const {
  const auto it = packed_.panels.find(name);
  return it == packed_.panels.end() ? nullptr : &it->second;
}

std::vector<std::string> TensorStore::names() const {
  std::vector<std::string> out;
  for (const auto& [name, tensor] : packed_.tensors) out.push_back(name);
  for (const auto& [name, tensor] : tensors_) out.push_back(name);
  return out;
}

const std::string& TensorStore::name_at(size_t index) const { return *order_[index]; }

void TensorStore::add(const std::string& name, DType dtype, const Shape& shape, const void* data) {
  if (tensors_.contains(name))
    fail(Code::kInvalidArgument, "there is a tensor \"{}\" already", name);
  order_.reserve(order_.size() + 1);  // so that a failure leaves the tensor in neither container
  const auto position = std::ranges::lower_bound(
      order_, name, {}, [](const std::string* key) -> const std::string& { return *key; });
  const auto at = tensors_.emplace(name, copy({dtype, shape, static_cast<const std::byte*>(data)}));
  order_.insert(position, &at.first->first);
}

Tensor TensorStore::copy(Tensor tensor) {
  // An array of max_align_t is aligned for every dtype.
  const size_t units = tensor.bytes() / sizeof(std::max_align_t) + 1;
  const std::shared_ptr<std::max_align_t[]> copy(new std::max_align_t[units]);
  if (tensor.bytes() > 0) std::memcpy(copy.get(), tensor.data, tensor.bytes());
  tensor.data = reinterpret_cast<const std::byte*>(copy.get());
  owners_.push_back(copy);
  return tensor;
}

const std::string* TensorStore::metadata(std::string_view key) const {
  const auto it = metadata_.find(key);
  return it == metadata_.end() ? nullptr : &it->second;
}

namespace {

// Like hash_bytes, but eight bytes at a time, because weights are large.
uint64_t hash_words(const std::byte* data, size_t size, uint64_t seed) {
  const size_t words = size / sizeof(uint64_t);
  for (size_t i = 0; i < words; ++i) {
    uint64_t word;
    std::memcpy(&word, data + i * sizeof(word), sizeof(word));
    seed = (seed ^ word) * 1099511628211u;
    // A product does not mix the high bits of a word into the low ones.
    seed ^= seed >> 32;
  }
  return hash_bytes(data + words * sizeof(uint64_t), size % sizeof(uint64_t), seed);
}

}  // namespace

uint64_t TensorStore::fingerprint() const {
  if (packed_.fingerprint) return *packed_.fingerprint;
  uint64_t hash = hash_bytes(nullptr, 0);
  for (const auto& [name, tensor] : tensors_) {
    hash = hash_bytes(name.data(), name.size(), hash);
    const std::string spec = to_string(ChannelSpec{tensor.dtype, tensor.shape});
    hash = hash_bytes(spec.data(), spec.size(), hash);
    hash = hash_words(tensor.data, tensor.bytes(), hash);
  }
  return hash;
}

uint64_t hash_bytes(const void* data, size_t size, uint64_t seed) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < size; ++i) seed = (seed ^ bytes[i]) * 1099511628211u;
  return seed;
}

}  // namespace sl
