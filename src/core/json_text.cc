#include "core/json_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

namespace sl {
namespace {

constexpr size_t kMaxPath = 300;
constexpr size_t kMaxKey = 60;
constexpr size_t kMaxMessage = 200;

bool continues_character(char c) { return (c & 0xc0) == 0x80; }

// The start or the end of a text, in at most `size` bytes, cut between characters of UTF-8.
std::string_view head_of(std::string_view text, size_t size) {
  if (text.size() <= size) return text;
  while (size > 0 && continues_character(text[size])) --size;
  return text.substr(0, size);
}

std::string_view tail_of(std::string_view text, size_t size) {
  size_t start = text.size() - std::min(size, text.size());
  while (start < text.size() && continues_character(text[start])) ++start;
  return text.substr(start);
}

bool is_plain(std::string_view key) {
  return !key.empty() && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string member(std::string_view key) {
  if (is_plain(key) && key.size() <= kMaxKey) return fmt::format(".{}", key);
  const std::string_view head = head_of(key, kMaxKey);
  return fmt::format("[\"{}{}\"]", head, head.size() < key.size() ? "..." : "");
}

// Line and column of a byte, both counted from 1.
std::string place_of(std::string_view text, size_t position) {
  const std::string_view before = text.substr(0, position);
  const size_t line_start = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
  return fmt::format("line {}, column {}", std::ranges::count(before, '\n') + 1,
                     before.size() - line_start + 1);
}

// The parser's message without its prefixes and without the text that it quotes, which may be long
// and may not be UTF-8.
std::string reason_of(std::string_view what) {
  const size_t bracket = what.find("] ");
  if (bracket != what.npos) what.remove_prefix(bracket + 2);
  const size_t syntax = what.find("syntax error ");
  if (syntax != what.npos) what.remove_prefix(syntax);
  std::string reason(what);
  const size_t token = reason.find("; last read: ");
  if (token != reason.npos) {
    const size_t expected = reason.rfind("; expected ");
    const bool hints = expected != reason.npos && expected > token;
    reason.erase(token, hints ? expected - token : reason.npos);
  }
  return std::string(head_of(reason, kMaxMessage));
}

std::string_view number_hint(std::string_view text, size_t position) {
  const std::string_view rest = text.substr(std::min(position, text.size()));
  if (!rest.starts_with("NaN") && !rest.starts_with("Infinity")) return "";
  return " (JSON has no such number: write \"nan\", \"inf\" or \"-inf\")";
}

// Builds the value while the parser reads it, and keeps the JSON path of the current position.
class Reader final : public nlohmann::json_sax<Json> {
 public:
  Reader(std::string_view text, int max_depth) : text_(text), max_depth_(max_depth) {}

  JsonDocument take() { return std::move(root_); }

  bool null() override { return put(Json()); }
  bool boolean(bool value) override { return put(Json(value)); }
  bool number_integer(number_integer_t value) override { return put(Json(value)); }
  bool number_unsigned(number_unsigned_t value) override { return put(Json(value)); }
  bool number_float(number_float_t value, const string_t&) override { return put(Json(value)); }
  bool string(string_t& value) override { return put(Json(std::move(value))); }
  bool binary(binary_t&) override { return false; }  // JSON texts have no binary values

  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool key(string_t& key) override {
    open_.back().key = std::move(key);
    return true;
  }
  bool end_object() override {
    check_keys();
    return close();
  }
  bool end_array() override { return close(); }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::json::exception& error) override {
    // The parser's position includes the byte that it rejects.
    const size_t at = std::min(position > 0 ? position - 1 : 0, text_.size());
    throw JsonError(path(), fmt::format("not JSON: {}: {}{}", place_of(text_, at),
                                        reason_of(error.what()), number_hint(text_, at)));
  }

 private:
  struct Container {
    Json* value;
    std::string key;  // key of the member that is being read
  };

  Json* add(Json&& value) {
    if (open_.empty()) return &(root_.value() = std::move(value));
    Json& container = *open_.back().value;
    if (container.is_array())
      return &container.get_ref<Json::array_t&>().emplace_back(std::move(value));
    // The map's own insertion searches for the key, which would take quadratic time.
    return &JsonDocument::add_member(container, open_.back().key, std::move(value));
  }

  bool put(Json&& value) {
    add(std::move(value));
    finish_member();
    return true;
  }

  bool close() {
    open_.pop_back();
    finish_member();
    return true;
  }

  void finish_member() {
    if (!open_.empty()) open_.back().key.clear();
  }

  bool open(Json&& value) {
    // The error omits the path, which is as long as the nesting is deep.
    if (static_cast<int>(open_.size()) == max_depth_) {
      throw JsonError("$", fmt::format("JSON nests deeper than {}", max_depth_));
    }
    open_.push_back({add(std::move(value)), {}});
    return true;
  }

  void check_keys() const {
    const auto& members = open_.back().value->get_ref<const Json::object_t&>();
    std::vector<std::string_view> keys;
    keys.reserve(members.size());
    for (const auto& [key, value] : members) keys.emplace_back(key);
    std::ranges::sort(keys);
    const auto twice = std::ranges::adjacent_find(keys);
    if (twice == keys.end()) return;
    throw JsonError(path_to(open_.size() - 1) + member(*twice), "the key is there twice");
  }

  // The path of the innermost value that has begun.
  std::string path() const { return path_to(open_.size()); }

  // The path through the first `count` of the open containers.
  std::string path_to(size_t count) const {
    std::string path = "$";
    for (size_t i = 0; i < count; ++i) {
      const Container& container = open_[i];
      if (container.value->is_object()) {
        if (!container.key.empty()) path += member(container.key);
      } else {
        const size_t begun = container.value->size();
        // An open container is already counted as an item, a number that cannot be parsed is not.
        path += fmt::format("[{}]", i + 1 < open_.size() ? begun - 1 : begun);
      }
    }
    if (path.size() <= kMaxPath) return path;
    return fmt::format("...{}", tail_of(path, kMaxPath));
  }

  std::string_view text_;
  int max_depth_;
  JsonDocument root_;
  std::vector<Container> open_;
};

}  // namespace

JsonDocument parse_json(std::string_view text, int max_depth) {
  if (text.starts_with("\xef\xbb\xbf")) {
    throw JsonError("$",
                    "not JSON: it begins with a byte order mark: save it as UTF-8 without one");
  }
  // The parser would take a NUL byte for the end of the text.
  if (const size_t nul = text.find('\0'); nul != text.npos) {
    throw JsonError("$", fmt::format("not JSON: {}: a NUL byte", place_of(text, nul)));
  }
  Reader reader(text, max_depth);
  Json::sax_parse(text.begin(), text.end(), &reader);
  return reader.take();
}

}  // namespace sl
