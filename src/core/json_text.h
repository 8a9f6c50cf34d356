// JSON texts from outside: read strictly, so that no two readers can see two things in one text.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "core/json_document.h"

namespace sl {

// What is wrong with a text, and the JSON path of the value that was being read.
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

// The value of a text of valid UTF-8 without byte order mark, with nothing but white space after
// the value, no key twice in an object, and at most `max_depth` arrays and objects within each
// other. Takes time in proportion to the text. Throws JsonError.
JsonDocument parse_json(std::string_view text, int max_depth);

}  // namespace sl
