// A strict parser of JSON texts, so that no two readers can understand one text differently.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "core/json_document.h"

namespace sl {

// An error in a text, with the JSON path of the value that was being read.
class JsonError : public std::exception {
 public:
  JsonError(std::string path, std::string message)
      : path_(std::move(path)), message_(std::move(message)) {}
  const std::string& path() const { return path_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string path_;
  std::string message_;
};

// Parses a text and throws JsonError if it is not strict JSON: valid UTF-8 without a byte order
// mark, only white space after the value, no duplicate keys in an object, and at most `max_depth`
// nested arrays and objects. The time is proportional to the length of the text.
JsonDocument parse_json(std::string_view text, int max_depth);

}  // namespace sl
