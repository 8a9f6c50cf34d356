// Typed access to a layer's JSON object. Each error names the JSON path, what was expected and the
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

// JSON has no infinities or NaN: they come as strings. Empty if it is no number.
std::optional<double> to_number(const Json& value);

// A constant array of a config: numbers in nested lists. Complex numbers are [re, im] pairs under
// {"complex": ...}.
struct Array {
  Shape shape;
  std::vector<complex64> values;
  bool is_complex = false;
};

// What a layer asked its config for: all that a config may hold.
struct Field {
  std::string name;
  std::string accepts;    // empty: anything, for it is ignored
  std::string otherwise;  // its value where it is left out, as JSON; empty: it is required
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

  // Required fields have no default.
  int64_t integer(const char* field, int64_t least);
  int64_t integer(const char* field, int64_t least, int64_t otherwise);
  double number(const char* field);
  double number(const char* field, double otherwise);
  bool boolean(const char* field);
  bool boolean(const char* field, bool otherwise);
  std::string string(const char* field);
  std::string string(const char* field, std::string_view otherwise);
  DType dtype(const char* field);
  DType dtype(const char* field, DType otherwise);
  std::optional<DType> optional_dtype(const char* field);
  // Index of one of `names`.
  size_t choice(const char* field, const std::vector<std::string>& names, size_t otherwise);
  // One integer stands for a list of one.
  std::vector<int64_t> integers(const char* field);
  std::optional<std::vector<int64_t>> optional_integers(const char* field);
  // One integer stands for `count` equal ones.
  std::vector<int64_t> integers_of(const char* field, size_t count, int64_t least,
                                   int64_t otherwise);
  std::vector<int64_t> integers_of(const char* field, size_t count, int64_t least);
  Array array(const char* field);
  // The field's own reader: for configs within configs. Null if the field is null or missing.
  std::optional<Config> nested(const char* field);
  Config nested_required(const char* field);
  // A list of configs.
  std::vector<Config> list(const char* field);
  std::optional<std::vector<Config>> optional_list(const char* field);
  // Any JSON value, null if missing: for fields of their own form.
  const Json* raw(const char* field);
  // Says what such a field accepts, before it is read.
  void note(std::string_view field, std::string_view accepts, std::string_view otherwise);

  // Fields that matter only in training or sharding: accepted and left alone.
  void ignore(std::initializer_list<const char*> fields);
  // Complains of fields that nobody asked for.
  void finish() const;
  // Those asked for so far, "type" aside, in that order.
  const std::vector<Field>& fields() const { return fields_; }

 private:
  const Json* find(const char* field) const;
  bool knows(std::string_view field) const;
  const Json& require(const char* field, std::string_view expected) const;
  int64_t to_integer(const Json& value, std::string_view field, int64_t least) const;
  DType to_dtype(const Json& value, std::string_view field) const;
  std::string unknown_message(const std::string& key) const;

  const Json* value_;
  std::string path_;
  std::string type_;
  std::vector<Field> fields_;
};

}  // namespace sl
