#include "core/json_document.h"

#include <iterator>

namespace sl {
namespace {

Json& last_but(Json& value, ptrdiff_t count) {
  if (value.is_array()) return *std::prev(value.get_ref<Json::array_t&>().end(), count + 1);
  return std::prev(value.get_ref<Json::object_t&>().end(), count + 1)->second;
}

void drop_last(Json& value) {
  if (value.is_array()) return value.get_ref<Json::array_t&>().pop_back();
  value.get_ref<Json::object_t&>().pop_back();
}

bool has_items(const Json& value) { return value.is_structured() && !value.empty(); }

}  // namespace

Json& JsonDocument::add_member(Json& object, const std::string& name, Json&& value) {
  auto& members = object.get_ref<Json::object_t&>();
  if (members.size() == members.capacity()) {
    Json::object_t grown;
    grown.reserve(2 * members.size() + 1);
    for (const auto& member : members) grown.emplace_back(member.first, nullptr);
    auto to = grown.begin();
    for (auto& member : members) (to++)->second = std::move(member.second);
    members.swap(grown);
  }
  return members.emplace_back(name, std::move(value)).second;
}

// Frees the values from the leaves up. The path back to the root is stored in the values
// themselves: the last item of a value that is being emptied is its parent.
void JsonDocument::dismantle() noexcept {
  Json parent, current = std::move(value_);
  while (true) {
    if (has_items(current)) {
      Json item = std::move(last_but(current, 0));
      last_but(current, 0) = std::move(parent);
      parent = std::move(current);
      current = std::move(item);
      continue;
    }
    current = Json();
    while (has_items(parent) && parent.size() == 1) {  // its only item is its own parent
      Json up = std::move(last_but(parent, 0));
      drop_last(parent);
      parent = std::move(up);
    }
    if (parent.is_null()) return;
    current = std::move(last_but(parent, 1));
    last_but(parent, 1) = std::move(last_but(parent, 0));
    drop_last(parent);
  }
}

}  // namespace sl
