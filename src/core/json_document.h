// Parsed JSON texts that can be freed without memory.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "core/config.h"

namespace sl {

// Owns a JSON value. nlohmann's destructor allocates a list of what it has to free, and ends the
// process if there is no memory for it: here nothing is left to list when it runs. Neither the size
// of the value nor its depth needs memory or stack.
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

  // Adds a member to an object, not looking whether it has one of that name. The object's own ways
  // to grow copy and free what it holds, for which there may be no memory.
  static Json& add_member(Json& object, const std::string& name, Json&& value);

 private:
  void dismantle() noexcept;

  Json value_;
};

}  // namespace sl
