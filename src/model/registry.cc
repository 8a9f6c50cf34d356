#include "model/registry.h"

#include <algorithm>

#include "core/status.h"

namespace sl {

Registry::Registry() {
  for (const LayerType& type : built_in_types()) add(type.name, type.factory);
}

void Registry::add(const std::string& type, TypeFactory factory) {
  std::string name = type;
  types_.reserve(types_.size() + 1);  // so that only `emplace` can fail, which then changes nothing
  if (!factories_.emplace(type, std::move(factory)).second) {
    fail(Code::kInvalidArgument, "the layer type \"{}\" is registered already", type);
  }
  types_.insert(std::ranges::lower_bound(types_, type), std::move(name));
}

const TypeFactory* Registry::find(const std::string& type) const {
  const auto it = factories_.find(type);
  return it == factories_.end() ? nullptr : &it->second;
}

const Registry& built_in_registry() {
  static const Registry kBuiltIn;
  return kBuiltIn;
}

}  // namespace sl
