// Typed access to a layer's JSON object. Each error names the JSON path, the expected form and the
// nearest valid name.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"

namespace sl {

using Json = nlohmann::ordered_json;

// The value's text for an error message, cut to fit.
std::string excerpt(const Json& value);

// The one of `names` that is closest in spelling to `name`, empty if none is close.
std::string nearest_name(std::string_view name, const std::vector<std::string>& names);

// The value as a number, or nothing if it is none. Infinities and NaN, which JSON lacks, are
// strings.
std::optional<double> to_number(const Json& value);

// A constant array of a config: numbers in nested lists. Complex numbers are [re, im] pairs under
// {"complex": ...}.
struct Array {
  Shape shape;
  std::vector<complex64> values;
  bool is_complex = false;
};

// A field that a layer reads. The fields that a layer has read are all that its config may have.
struct Field {
  std::string name;
  std::string accepts;    // its form; empty if the field is ignored and may have any form
  std::string otherwise;  // its default as JSON; empty if the field is required
};

class Config {
 public:
  // `value` must outlive the reader.
  Config(const Json& value, std::string path);

  const std::string& path() const { return path_; }
  const std::string& type() const { return type_; }
  const Json& json() const { return *value_; }
  bool has(const char* field) const;
  [[noreturn]] void error(std::string_view field, std::string_view message) const;

  // A field is required unless the call gives its default, `fallback`.
  int64_t integer(const char* field, int64_t minimum);
  int64_t integer(const char* field, int64_t minimum, int64_t fallback);
  double number(const char* field);
  double number(const char* field, double fallback);
  bool boolean(const char* field);
  bool boolean(const char* field, bool fallback);
  std::string string(const char* field);
  std::string string(const char* field, std::string_view fallback);
  DType dtype(const char* field);
  DType dtype(const char* field, DType fallback);
  std::optional<DType> optional_dtype(const char* field);
  // Reads one of `names` and returns its index.
  size_t choice(const char* field, const std::vector<std::string>& names, size_t fallback);
  // Reads a list of integers; a single integer stands for a list of one.
  std::vector<int64_t> integers(const char* field);
  std::optional<std::vector<int64_t>> optional_integers(const char* field);
  // Reads a list of `count` integers; a single integer stands for `count` equal ones.
  std::vector<int64_t> integers_of(const char* field, size_t count, int64_t minimum,
                                   int64_t fallback);
  std::vector<int64_t> integers_of(const char* field, size_t count, int64_t minimum);
  Array array(const char* field);
  // The reader of a nested config. Empty if the field is null or missing.
  std::optional<Config> nested(const char* field);
  Config nested_required(const char* field);
  // The readers of a list of nested configs.
  std::vector<Config> list(const char* field);
  std::optional<std::vector<Config>> optional_list(const char* field);
  // The JSON value of a field whose form no other function reads; null if it is missing.
  const Json* raw(const char* field);
  // Records the form and the default of a field that `raw` reads; call it first.
  void note(std::string_view field, std::string_view accepts, std::string_view fallback);

  // Accepts fields that matter only in training or sharding, without reading them.
  void ignore(std::initializer_list<const char*> fields);
  // Fails if the config has a field that no call has read.
  void finish() const;
  // The fields read so far except "type", in the order of the calls.
  const std::vector<Field>& fields() const { return fields_; }

 private:
  const Json* find(const char* field) const;
  bool knows(std::string_view field) const;
  const Json& require(const char* field, std::string_view expected) const;
  int64_t to_integer(const Json& value, std::string_view field, int64_t minimum) const;
  DType to_dtype(const Json& value, std::string_view field) const;
  std::string unknown_message(const std::string& key) const;

  const Json* value_;
  std::string path_;
  std::string type_;
  std::vector<Field> fields_;
};

}  // namespace sl
