// The layer types that configs can name: the built-in types and those that a user of the library
// adds.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "layers/builder.h"

namespace sl {

using TypeFactory = std::function<std::unique_ptr<Layer>(Config& config, const Init& init)>;

class Registry {
 public:
  // Begins with the built-in types.
  Registry();

  void add(const std::string& type, TypeFactory factory);
  // Null if the type is unknown.
  const TypeFactory* find(const std::string& type) const;
  const std::vector<std::string>& types() const { return types_; }

 private:
  std::map<std::string, TypeFactory> factories_;
  std::vector<std::string> types_;
};

// The registry that has only the built-in types.
const Registry& built_in_registry();

}  // namespace sl
