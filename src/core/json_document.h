// Parsed JSON texts that can be freed without allocating.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "core/config.h"

namespace sl {

// Owns a JSON value. The destructor of nlohmann::json allocates a list of the values to free, and
// ends the process if there is no memory for it. This class frees them itself first, so that the
// list is empty. That takes neither memory nor stack, whatever the size and depth of the value.
class JsonDocument {
 public:
  JsonDocument() = default;
  explicit JsonDocument(Json&& value) noexcept : value_(std::move(value)) {}
  JsonDocument(JsonDocument&& other) noexcept : value_(std::move(other.value_)) {}
  JsonDocument& operator=(JsonDocument&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~JsonDocument() { dismantle(); }

  Json& value() { return value_; }
  const Json& value() const { return value_; }

  // Adds a member to an object without searching for one of that name. The object's own functions
  // copy and free its members when it grows, for which there may be no memory.
  static Json& add_member(Json& object, const std::string& name, Json&& value);

 private:
  void dismantle() noexcept;

  Json value_;
};

}  // namespace sl
