#include "core/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/status.h"
#include "core/text.h"

namespace sl {
namespace {

// The edit distance of two names, or `limit` if it is not below. The time is proportional to the
// longer name times the limit.
size_t edit_distance(std::string_view a, std::string_view b, size_t limit) {
  if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) >= limit) return limit;
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    // Only entries near the diagonal can be below the limit.
    const size_t first = i > limit ? i - limit : 1, last = std::min(b.size(), i + limit);
    size_t diagonal = row[first - 1];
    row[first - 1] = first == 1 ? i : limit;
    size_t minimum = row[first - 1];
    for (size_t j = first; j <= last; ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
      minimum = std::min(minimum, row[j]);
    }
    if (last < b.size()) row[last + 1] = limit;
    if (minimum >= limit) return limit;
  }
  return std::min(row.back(), limit);
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// Shape of nested lists by their first items, up to the maximum rank.
Shape nested_shape(const Json& value) {
  Shape shape;
  for (const Json* v = &value; v->is_array() && shape.rank() < Shape::kMaxRank; v = &v->front()) {
    shape.push_back(static_cast<int64_t>(v->size()));
    if (v->empty()) break;
  }
  return shape;
}

// Maximum number of layers in one list.
constexpr size_t kMaxConfigs = 1 << 16;

std::string at_least(std::string_view form, int64_t minimum) {
  return fmt::format("{}, at least {}", form, minimum);
}

std::string integers_form(size_t count, int64_t minimum) {
  return at_least(count == 1 ? "integer" : fmt::format("integer or list of {}", count), minimum);
}

bool collect(const Json& value, const Shape& shape, int depth, std::vector<complex64>* out) {
  if (depth == shape.rank()) {
    if (value.is_boolean()) {
      out->emplace_back(value.get<bool>() ? 1.0f : 0.0f);
      return true;
    }
    const auto number = to_number(value);
    if (number) out->emplace_back(static_cast<float>(*number));
    return number.has_value();
  }
  if (!value.is_array() || static_cast<int64_t>(value.size()) != shape[depth]) return false;
  return std::ranges::all_of(value,
                             [&](const Json& v) { return collect(v, shape, depth + 1, out); });
}

}  // namespace

std::optional<double> to_number(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (text == "inf") return std::numeric_limits<double>::infinity();
    if (text == "-inf") return -std::numeric_limits<double>::infinity();
    if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  }
  return std::nullopt;
}

std::string excerpt(const Json& value) {
  constexpr size_t kMax = 60;
  const std::string text = value.dump();
  const std::string_view kept = cut_text(text, kMax);
  return std::string(kept) + (kept.size() < text.size() ? "..." : "");
}

std::string nearest_name(std::string_view name, const std::vector<std::string>& names) {
  // Names written by people are short; longer ones are not worth the time.
  constexpr size_t kLongest = 256, kMaxChanges = 10;
  if (name.size() > kLongest) return "";
  const std::string wanted = lower(name);
  std::string best;
  size_t minimum = std::clamp<size_t>(name.size() / 3, 2, kMaxChanges) + 1;
  for (const std::string& candidate : names) {
    if (candidate.size() > kLongest) continue;
    const size_t distance = edit_distance(wanted, lower(candidate), minimum);
    if (distance < minimum) {
      minimum = distance;
      best = candidate;
    }
  }
  return best;
}

Config::Config(const Json& value, std::string path) : value_(&value), path_(std::move(path)) {
  if (!value.is_object()) {
    fail(Code::kConfig, "{}: expected an object with a \"type\", got {}", path_, excerpt(value));
  }
  const auto type = value.find("type");
  if (type == value.end()) fail(Code::kConfig, "{}: the object has no \"type\"", path_);
  if (!type->is_string()) {
    fail(Code::kConfig, "{}.type: expected a layer type (string), got {}", path_, excerpt(*type));
  }
  type_ = type->get<std::string>();
}

void Config::error(std::string_view field, std::string_view message) const {
  fail(Code::kConfig, "{}.{} ({}): {}", path_, field, type_, message);
}

bool Config::has(const char* field) const { return value_->contains(field); }

const Json* Config::find(const char* field) const {
  const auto it = value_->find(field);
  return it == value_->end() ? nullptr : &*it;
}

void Config::note(std::string_view field, std::string_view accepts, std::string_view fallback) {
  if (!knows(field))
    fields_.push_back({std::string(field), std::string(accepts), std::string(fallback)});
}

bool Config::knows(std::string_view field) const {
  return field == "type" || std::ranges::find(fields_, field, &Field::name) != fields_.end();
}

const Json& Config::require(const char* field, std::string_view expected) const {
  const Json* value = find(field);
  if (value) return *value;
  std::vector<std::string> given;
  for (const auto& item : value_->items()) {
    if (!knows(item.key())) given.push_back(item.key());
  }
  const std::string near = nearest_name(field, given);
  fail(Code::kConfig, "{} ({}): the required field \"{}\" ({}) is missing{}", path_, type_, field,
       expected, near.empty() ? "" : fmt::format("; \"{}\" is not a field of it", near));
}

int64_t Config::to_integer(const Json& value, std::string_view field, int64_t minimum) const {
  // A float such as 2.0 is accepted as an integer, 2.5 is not.
  const bool whole =
      value.is_number_integer() ||
      (value.is_number_float() && std::trunc(value.get<double>()) == value.get<double>() &&
       std::abs(value.get<double>()) < 1e15);
  if (!whole) error(field, fmt::format("expected an integer, got {}", excerpt(value)));
  // A value that does not fit into 64 signed bits must not wrap around to a small one.
  constexpr uint64_t kLargest = std::numeric_limits<int64_t>::max();
  if (value.is_number_unsigned() && value.get<uint64_t>() > kLargest) {
    error(field, fmt::format("expected at most 2^31, got {}", value.dump()));
  }
  const auto integer = value.get<int64_t>();
  if (integer < minimum)
    error(field, fmt::format("expected at least {}, got {}", minimum, integer));
  // This limit keeps later products of sizes within 64 bits.
  if (integer > (int64_t{1} << 31))
    error(field, fmt::format("expected at most 2^31, got {}", integer));
  return integer;
}

int64_t Config::integer(const char* field, int64_t minimum) {
  note(field, at_least("integer", minimum), "");
  return to_integer(require(field, "integer"), field, minimum);
}

int64_t Config::integer(const char* field, int64_t minimum, int64_t fallback) {
  note(field, at_least("integer", minimum), std::to_string(fallback));
  const Json* value = find(field);
  return value ? to_integer(*value, field, minimum) : fallback;
}

double Config::number(const char* field) {
  note(field, "number", "");
  const Json& value = require(field, "number");
  const auto number = to_number(value);
  if (!number) error(field, fmt::format("expected a number, got {}", excerpt(value)));
  return *number;
}

double Config::number(const char* field, double fallback) {
  note(field, "number", fmt::format("{}", fallback));
  return find(field) ? number(field) : fallback;
}

bool Config::boolean(const char* field) {
  note(field, "true or false", "");
  const Json& value = require(field, "true or false");
  if (!value.is_boolean())
    error(field, fmt::format("expected true or false, got {}", excerpt(value)));
  return value.get<bool>();
}

bool Config::boolean(const char* field, bool fallback) {
  note(field, "true or false", fallback ? "true" : "false");
  return find(field) ? boolean(field) : fallback;
}

std::string Config::string(const char* field) {
  note(field, "string", "");
  const Json& value = require(field, "string");
  if (!value.is_string()) error(field, fmt::format("expected a string, got {}", excerpt(value)));
  return value.get<std::string>();
}

std::string Config::string(const char* field, std::string_view fallback) {
  note(field, "string", fmt::format("\"{}\"", fallback));
  return find(field) ? string(field) : std::string(fallback);
}

DType Config::to_dtype(const Json& value, std::string_view field) const {
  if (value.is_string()) {
    if (const auto dtype = dtype_named(value.get_ref<const std::string&>())) return *dtype;
  }
  error(field, fmt::format("expected one of \"float32\", \"int32\", \"bool\", \"complex64\", "
                           "\"bfloat16\", \"float16\", "
                           "\"int8\", got {}",
                           excerpt(value)));
}

DType Config::dtype(const char* field) {
  note(field, "dtype", "");
  return to_dtype(require(field, "dtype"), field);
}

DType Config::dtype(const char* field, DType fallback) {
  note(field, "dtype", fmt::format("\"{}\"", name_of(fallback)));
  return optional_dtype(field).value_or(fallback);
}

std::optional<DType> Config::optional_dtype(const char* field) {
  note(field, "dtype or null", "null");
  const Json* value = find(field);
  if (!value || value->is_null()) return std::nullopt;
  return to_dtype(*value, field);
}

size_t Config::choice(const char* field, const std::vector<std::string>& names, size_t fallback) {
  note(field, fmt::format("\"{}\"", fmt::join(names, "\", \"")),
       fmt::format("\"{}\"", names[fallback]));
  const Json* value = find(field);
  if (!value) return fallback;
  if (value->is_string()) {
    const auto it = std::ranges::find(names, value->get_ref<const std::string&>());
    if (it != names.end()) return static_cast<size_t>(it - names.begin());
    const std::string near = nearest_name(value->get_ref<const std::string&>(), names);
    error(field, fmt::format("expected one of \"{}\", got {}{}", fmt::join(names, "\", \""),
                             excerpt(*value),
                             near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
  }
  error(field,
        fmt::format("expected one of \"{}\", got {}", fmt::join(names, "\", \""), excerpt(*value)));
}

std::vector<int64_t> Config::integers(const char* field) {
  note(field, "integer or list of integers", "");
  const Json& value = require(field, "integer or list of integers");
  constexpr int64_t kLeast = std::numeric_limits<int32_t>::min();
  if (!value.is_array()) return {to_integer(value, field, kLeast)};
  std::vector<int64_t> out;
  for (size_t i = 0; i < value.size(); ++i) {
    out.push_back(to_integer(value[i], fmt::format("{}[{}]", field, i), kLeast));
  }
  return out;
}

std::optional<std::vector<int64_t>> Config::optional_integers(const char* field) {
  note(field, "integer, list of integers or null", "null");
  const Json* value = find(field);
  if (!value || value->is_null()) return std::nullopt;
  return integers(field);
}

std::vector<int64_t> Config::integers_of(const char* field, size_t count, int64_t minimum,
                                         int64_t fallback) {
  note(field, integers_form(count, minimum), std::to_string(fallback));
  return find(field) ? integers_of(field, count, minimum) : std::vector<int64_t>(count, fallback);
}

std::vector<int64_t> Config::integers_of(const char* field, size_t count, int64_t minimum) {
  note(field, integers_form(count, minimum), "");
  require(field, "integer");
  std::vector<int64_t> out = integers(field);
  if (out.size() == 1 && !(*value_)[field].is_array()) out.resize(count, out[0]);
  if (out.size() != count)
    error(field, fmt::format("expected one integer or a list of {}, got {}", count, out.size()));
  for (int64_t v : out) {
    if (v < minimum) error(field, fmt::format("expected at least {}, got {}", minimum, v));
  }
  return out;
}

Array Config::array(const char* field) {
  note(field, "number or nested lists of numbers", "");
  const Json* value = &require(field, "number or nested lists of numbers");
  Array out;
  out.is_complex = value->is_object() && value->contains("complex");
  if (out.is_complex) value = &(*value)["complex"];
  out.shape = nested_shape(*value);
  if (!collect(*value, out.shape, 0, &out.values)) {
    error(field, fmt::format("expected a number or nested lists of equal lengths, got {}",
                             excerpt(*value)));
  }
  if (!out.is_complex) return out;
  if (out.shape.empty() || out.shape.back() != 2) error(field, "expected (real, imaginary) pairs");
  std::vector<complex64> pairs;
  for (size_t i = 0; i < out.values.size(); i += 2)
    pairs.emplace_back(out.values[i].real(), out.values[i + 1].real());
  out.values = std::move(pairs);
  out.shape.pop_back();
  return out;
}

std::optional<Config> Config::nested(const char* field) {
  note(field, "config or null", "null");
  const Json* value = find(field);
  if (!value || value->is_null()) return std::nullopt;
  return Config(*value, path_ + "." + field);
}

Config Config::nested_required(const char* field) {
  note(field, "config", "");
  return Config(require(field, "a layer's config"), path_ + "." + field);
}

std::vector<Config> Config::list(const char* field) {
  note(field, "list of configs", "");
  const Json& value = require(field, "list of layer configs");
  if (!value.is_array()) {
    error(field, fmt::format("expected a list of layer configs, got {}", excerpt(value)));
  }
  if (value.size() > kMaxConfigs)
    error(field, fmt::format("expected at most {} layers, got {}", kMaxConfigs, value.size()));
  std::vector<Config> out;
  for (size_t i = 0; i < value.size(); ++i)
    out.emplace_back(value[i], fmt::format("{}.{}[{}]", path_, field, i));
  return out;
}

std::optional<std::vector<Config>> Config::optional_list(const char* field) {
  note(field, "config, list of configs or null", "null");
  const Json* value = find(field);
  if (!value || value->is_null()) return std::nullopt;
  if (value->is_object()) return std::vector<Config>{Config(*value, path_ + "." + field)};
  return list(field);
}

const Json* Config::raw(const char* field) {
  note(field, "JSON", "null");
  const Json* value = find(field);
  return value && value->is_null() ? nullptr : value;
}

void Config::ignore(std::initializer_list<const char*> fields) {
  for (const char* field : fields) note(field, "", "null");
}

std::string Config::unknown_message(const std::string& key) const {
  std::vector<std::string> known = {"type"};
  for (const Field& field : fields_) known.push_back(field.name);
  const std::string near = nearest_name(key, known);
  if (!near.empty()) return fmt::format("unknown field; did you mean \"{}\"?", near);
  return fmt::format("unknown field; {} has \"{}\"", type_, fmt::join(known, "\", \""));
}

void Config::finish() const {
  for (const auto& item : value_->items()) {
    if (!knows(item.key())) error(item.key(), unknown_message(item.key()));
  }
}

}  // namespace sl
