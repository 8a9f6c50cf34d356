#include "model/packed_index.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "core/json_text.h"
#include "core/status.h"

namespace sl {
namespace {

// The layout of panels, of the index and of names. A change of any of them makes a new version.
constexpr int64_t kVersion = 1;
constexpr int kMaxIndexDepth = 8;
// Far more elements than any tensor has.
constexpr int64_t kMaxSize = int64_t{1} << 40;

// Reads parts of the index; errors name them.
class IndexReader {
 public:
  explicit IndexReader(const std::string& source) : source_(source) {}

  [[noreturn]] void error(std::string_view where, std::string_view expected) const {
    fail(Code::kWeights, "{}: metadata \"{}\": {}: expected {}", source_, kPackedKey, where,
         expected);
  }
  const Json& field(const Json& object, const char* key, std::string_view where) const {
    if (!object.is_object() || !object.contains(key))
      error(where, fmt::format("an object with \"{}\"", key));
    return object[key];
  }
  int64_t size(const Json& object, const char* key, std::string_view where) const {
    const Json& value = field(object, key, where);
    if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{kMaxSize})
      error(fmt::format("{}.{}", where, key), "a size");
    return value.get<int64_t>();
  }
  std::string_view text(const Json& object, const char* key, std::string_view where) const {
    const Json& value = field(object, key, where);
    if (!value.is_string()) error(fmt::format("{}.{}", where, key), "a string");
    return value.get_ref<const std::string&>();
  }
  const Json::object_t& entries(const Json& object, const char* key) const {
    const Json& value = field(object, key, "$");
    if (!value.is_object()) error(key, "an object");
    return value.get_ref<const Json::object_t&>();
  }

  Tensor tensor(const std::string& name, const Json& value) const {
    Tensor out;
    const auto dtype = dtype_named(std::string(text(value, "dtype", name)));
    if (!dtype) error(name + ".dtype", "a dtype such as \"float32\"");
    out.dtype = *dtype;
    const Json& shape = field(value, "shape", name);
    if (!shape.is_array() || shape.size() > Shape::kMaxRank) error(name + ".shape", "a shape");
    for (const Json& dim : shape) {
      if (!dim.is_number_unsigned() || dim.get<uint64_t>() > uint64_t{kMaxSize})
        error(name + ".shape", "a shape");
      out.shape.push_back(dim.get<int64_t>());
    }
    int64_t elements = 1;
    for (const int64_t dim : out.shape) {
      if (!fits_product(elements, std::max<int64_t>(dim, 1), &elements) || elements > kMaxSize)
        error(name + ".shape", "fewer elements");
    }
    return out;
  }
  StoredPanels panels(const std::string& name, const Json& value) const {
    StoredPanels out;
    const auto format = weight_format_named(text(value, "format", name));
    if (!format) {
      error(name + ".format", fmt::format("one of {}", fmt::join(kWeightFormatNames, ", ")));
    }
    out.format = *format;
    out.sizes = {size(value, "count", name), size(value, "inputs", name),
                 size(value, "outputs", name)};
    return out;
  }

 private:
  const std::string& source_;
};

std::string string_of(std::string_view text) { return Json(text).dump(); }

}  // namespace

PackedIndex PackedIndex::parse(std::string_view text, const std::string& source) {
  const IndexReader reader(source);
  const JsonDocument document = [&] {
    try {
      return parse_json(text, kMaxIndexDepth);
    } catch (const JsonError& error) {
      fail(Code::kWeights, "{}: metadata \"{}\": {}: {}", source, kPackedKey, error.path(),
           error.what());
    }
  }();
  const Json& json = document.value();
  if (const int64_t version = reader.size(json, "version", "$"); version != kVersion) {
    fail(Code::kWeights,
         "{}: is packed in version {}, this library reads version {}: pack the model again from "
         "its original weights",
         source, version, kVersion);
  }
  PackedIndex index;
  for (const auto& [name, value] : reader.entries(json, "tensors"))
    index.tensors[name] = reader.tensor(name, value);
  for (const auto& [name, value] : reader.entries(json, "panels"))
    index.panels[name] = reader.panels(name, value);
  const std::string_view hex = reader.text(json, "fingerprint", "$");
  uint64_t fingerprint = 0;
  const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), fingerprint, 16);
  if (hex.empty() || error != std::errc() || end != hex.data() + hex.size())
    reader.error("fingerprint", "64 bits as hexadecimal digits");
  index.fingerprint = fingerprint;
  return index;
}

std::string PackedIndex::text() const {
  std::vector<std::string> lines;
  for (const auto& [name, tensor] : tensors) {
    lines.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":[{}]}})", string_of(name),
                                name_of(tensor.dtype), fmt::join(tensor.shape, ",")));
  }
  std::string out = fmt::format(R"({{"version":{},"fingerprint":"{:x}","tensors":{{{}}})", kVersion,
                                fingerprint.value_or(0), fmt::join(lines, ","));
  lines.clear();
  for (const auto& [name, stored] : panels) {
    lines.push_back(fmt::format(R"({}:{{"format":"{}","count":{},"inputs":{},"outputs":{}}})",
                                string_of(name), name_of(stored.format), stored.sizes.count,
                                stored.sizes.inputs, stored.sizes.outputs));
  }
  return out + fmt::format(R"(,"panels":{{{}}}}})", fmt::join(lines, ","));
}

}  // namespace sl
