#include "model/tensor_store.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/status.h"

namespace sl {
namespace {

constexpr std::string_view kComplexSuffix = "@complex64";
constexpr uint64_t kMaxHeader = uint64_t{1} << 28;

struct StoredType {
  std::string_view name;
  DType dtype;
};

constexpr StoredType kStoredTypes[] = {
    {"F32", DType::kFloat32}, {"F16", DType::kFloat16}, {"BF16", DType::kBFloat16},
    {"I32", DType::kInt32},   {"I8", DType::kInt8},     {"BOOL", DType::kBool},
};

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

// The bytes of a safetensors file.
struct TensorStore::Image {
  const std::byte* data = nullptr;
  size_t size = 0;
  void* mapping = nullptr;
  std::vector<std::byte> copy;

  Image() = default;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  ~Image() {
    if (mapping) munmap(mapping, size);
  }
};

std::shared_ptr<TensorStore> TensorStore::open(const std::string& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (file.get() < 0 || fstat(file.get(), &info) != 0) {
    fail(Code::kIo, "{}: cannot be opened: {}", path, std::strerror(errno));
  }
  if (!S_ISREG(info.st_mode)) fail(Code::kIo, "{}: is not a file", path);
  auto image = std::make_shared<Image>();
  image->size = static_cast<size_t>(info.st_size);
  if (image->size > 0) {
    void* mapping = mmap(nullptr, image->size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (mapping == MAP_FAILED)
      fail(Code::kIo, "{}: cannot be mapped: {}", path, std::strerror(errno));
    image->mapping = mapping;
    image->data = static_cast<const std::byte*>(mapping);
  }
  auto store = std::make_shared<TensorStore>();
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

Shape parse_shape(const nlohmann::json& value, const std::string& where) {
  Shape shape;
  if (!value.is_array() || value.size() > Shape::kMaxRank)
    fail(Code::kWeights, "{}: bad \"shape\"", where);
  int64_t elements = 1;
  for (const auto& dim : value) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > (uint64_t{1} << 40)) {
      fail(Code::kWeights, "{}: bad \"shape\"", where);
    }
    shape.push_back(dim.get<int64_t>());
    if (__builtin_mul_overflow(elements, std::max<int64_t>(shape.back(), 1), &elements)) {
      fail(Code::kWeights, "{}: bad \"shape\"", where);
    }
  }
  return shape;
}

struct Entry {
  Tensor tensor;  // data not set
  size_t begin = 0;
  size_t end = 0;
};

Entry parse_entry(const nlohmann::json& value, const std::string& where, size_t data_size) {
  if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets")) {
    fail(Code::kWeights, "{}: needs \"dtype\", \"shape\" and \"data_offsets\"", where);
  }
  Entry entry;
  const auto& dtype = value["dtype"];
  const auto* stored = std::ranges::find_if(kStoredTypes, [&](const StoredType& t) {
    return dtype.is_string() && dtype.get_ref<const std::string&>() == t.name;
  });
  if (stored == std::end(kStoredTypes)) {
    // Only what does not nest is quoted: hostile nesting must not exhaust the stack.
    fail(Code::kWeights, "{}: dtype {} is not read: expected F32, F16, BF16, I32, I8 or BOOL",
         where, dtype.is_structured() ? dtype.type_name() : dtype.dump());
  }
  entry.tensor.dtype = stored->dtype;
  entry.tensor.shape = parse_shape(value["shape"], where);
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
    fail(Code::kWeights, "{}: {} {} takes {} bytes, its data_offsets hold {}", where, stored->name,
         to_string(entry.tensor.shape), entry.tensor.bytes(), entry.end - entry.begin);
  }
  return entry;
}

}  // namespace

void TensorStore::parse(std::shared_ptr<const Image> image, const std::string& source) {
  uint64_t header_size = 0;
  if (image->size < sizeof(header_size))
    fail(Code::kWeights, "{}: not a safetensors file: {} bytes", source, image->size);
  std::memcpy(&header_size, image->data, sizeof(header_size));
  if (header_size > kMaxHeader || header_size > image->size - sizeof(header_size)) {
    fail(Code::kWeights, "{}: not a safetensors file: its header would have {} bytes", source,
         header_size);
  }
  const auto* text = reinterpret_cast<const char*>(image->data) + sizeof(header_size);
  const auto header =
      nlohmann::json::parse(text, text + header_size, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object())
    fail(Code::kWeights, "{}: not a safetensors file: its header is not JSON", source);

  const size_t data_begin = sizeof(header_size) + header_size;
  for (const auto& item : header.items()) {
    if (item.key() == "__metadata__") {
      for (const auto& entry : item.value().items()) {
        if (entry.value().is_string()) metadata_[entry.key()] = entry.value().get<std::string>();
      }
      continue;
    }
    const std::string where = fmt::format("{}: tensor \"{}\"", source, item.key());
    Entry entry = parse_entry(item.value(), where, image->size - data_begin);
    entry.tensor.data = image->data + data_begin + entry.begin;
    std::string name = item.key();
    if (name.ends_with(kComplexSuffix)) {
      Shape& shape = entry.tensor.shape;
      if (entry.tensor.dtype != DType::kFloat32 || shape.empty() || shape.back() != 2) {
        fail(Code::kWeights, "{}: a complex tensor is F32 with a last axis of 2", where);
      }
      shape.pop_back();
      entry.tensor.dtype = DType::kComplex64;
      name.resize(name.size() - kComplexSuffix.size());
    }
    if (reinterpret_cast<uintptr_t>(entry.tensor.data) % 4 == 0 ||
        size_of(entry.tensor.dtype) == 1) {
      tensors_[name] = entry.tensor;
    } else {  // a header of odd length leaves the data misaligned
      add(name, entry.tensor.dtype, entry.tensor.shape, entry.tensor.data);
    }
  }
  owners_.push_back(std::move(image));
  order_.clear();
  for (const auto& [name, tensor] : tensors_) order_.push_back(&name);
}

const Tensor* TensorStore::find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

std::vector<std::string> TensorStore::names() const {
  std::vector<std::string> out;
  for (const auto& [name, tensor] : tensors_) out.push_back(name);
  return out;
}

const std::string& TensorStore::name_at(size_t index) const { return *order_[index]; }

void TensorStore::add(const std::string& name, DType dtype, const Shape& shape, const void* data) {
  if (tensors_.contains(name))
    fail(Code::kInvalidArgument, "there is a tensor \"{}\" already", name);
  Tensor tensor{dtype, shape, nullptr};
  // shared_ptr<T[]> of max_align_t keeps any dtype aligned.
  const size_t units = tensor.bytes() / sizeof(std::max_align_t) + 1;
  const std::shared_ptr<std::max_align_t[]> copy(new std::max_align_t[units]);
  if (tensor.bytes() > 0) std::memcpy(copy.get(), data, tensor.bytes());
  tensor.data = reinterpret_cast<const std::byte*>(copy.get());
  owners_.push_back(copy);
  tensors_[name] = tensor;
  order_.clear();
  for (const auto& [key, value] : tensors_) order_.push_back(&key);
}

const std::string* TensorStore::metadata(const std::string& key) const {
  const auto it = metadata_.find(key);
  return it == metadata_.end() ? nullptr : &it->second;
}

namespace {

// As hash_bytes, eight bytes at a time: weights are large.
uint64_t hash_words(const std::byte* data, size_t size, uint64_t seed) {
  const size_t words = size / sizeof(uint64_t);
  for (size_t i = 0; i < words; ++i) {
    uint64_t word;
    std::memcpy(&word, data + i * sizeof(word), sizeof(word));
    seed = (seed ^ word) * 1099511628211u;
    seed ^= seed >> 32;  // a product's low bits know nothing of a word's high ones
  }
  return hash_bytes(data + words * sizeof(uint64_t), size % sizeof(uint64_t), seed);
}

}  // namespace

uint64_t TensorStore::fingerprint() const {
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
