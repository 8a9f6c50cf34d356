// Named tensors, read from a safetensors file or a memory image, or added one by one.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "layers/weights.h"
#include "model/packed_index.h"

namespace sl {

class File;

// Ends the stored name of a complex tensor.
constexpr std::string_view kComplexSuffix = "@complex64";

class TensorStore final : public TensorSet {
 public:
  using Metadata = std::map<std::string, std::string, std::less<>>;

  // Memory-maps the file. Its header must meet the strict rules of the safetensors library and name
  // no tensor or field twice.
  static std::shared_ptr<TensorStore> open(const std::string& path);
  // Copies the image of a file in memory.
  static std::shared_ptr<TensorStore> read(const void* data, size_t size);

  const Tensor* find(const std::string& name) const override;
  // The names of all tensors and panels, and of tensors of which only panels are stored.
  std::vector<std::string> names() const override;
  const Tensor* find_packed(const std::string& name) const override;
  const StoredPanels* find_panels(const std::string& name) const override;
  size_t size() const { return tensors_.size(); }
  // The name at an index in alphabetical order.
  const std::string& name_at(size_t index) const;
  // Copies the data. Fails if there is a tensor of that name already.
  void add(const std::string& name, DType dtype, const Shape& shape, const void* data);
  // The value of a metadata entry; null if there is none.
  const std::string* metadata(std::string_view key) const;
  const Metadata& metadata() const { return metadata_; }
  // Tensors of which only panels are stored, without data.
  const std::map<std::string, Tensor>& packed_tensors() const { return packed_.tensors; }
  // A hash of names, dtypes, shapes and data. Packed weights have that of those that were packed.
  uint64_t fingerprint() const;
  // Fails if the file was written to or cut short since it was opened. Does nothing for tensors in
  // memory.
  void check_unchanged() const;
  // Makes the system map all pages of packed matrices, which layers read where they lie.
  void touch_panels() const;

 private:
  struct Image;

  // `source` names the file or the memory in messages.
  void parse(std::shared_ptr<const Image> image, const std::string& source);
  // Adds a tensor of an image under its name, without the suffix of complex tensors.
  void insert(std::string name, Tensor tensor, const std::string& where);
  void adopt(PackedIndex index, const std::string& source);
  // Returns the tensor with its data copied to memory that the store owns.
  Tensor copy(Tensor tensor);

  std::map<std::string, Tensor> tensors_;
  std::vector<const std::string*> order_;
  Metadata metadata_;
  PackedIndex packed_;
  std::vector<std::shared_ptr<const void>> owners_;
  const File* file_ = nullptr;  // the mapped file, which one of `owners_` holds
};

// FNV-1a hash.
uint64_t hash_bytes(const void* data, size_t size, uint64_t seed = 14695981039346656037u);

}  // namespace sl
