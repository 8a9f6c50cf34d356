#include <span>

#include "convert.h"
#include "custom_layer.h"
#include "handles.h"

using sl::Code;
using sl::capi::guard;
using sl::capi::not_null;

sl_status sl_registry_create(sl_registry** out, sl_error* error) {
  return guard(error, [&] {
    not_null(out, "out");
    *out = new sl_registry;
  });
}

sl_status sl_registry_add(sl_registry* registry, const char* type,
                          const sl_layer_callbacks* callbacks, sl_error* error) {
  return guard(error, [&] {
    not_null(registry, "registry");
    not_null(callbacks, "callbacks");
    const std::string name = not_null(type, "type");
    if (name.empty()) sl::fail(Code::kInvalidArgument, "type is empty");
    const auto table = sl::capi::read_struct(callbacks, "callbacks");
    registry->registry.add(name, sl::capi::custom_factory(table));
  });
}

namespace {

// Names of the types that a registry knows; a null registry stands for the built-in one. Empty if
// there is no memory to make that.
std::span<const std::string> types_of(const sl_registry* registry) noexcept {
  try {
    return (registry ? registry->registry : sl::built_in_registry()).types();
  } catch (...) {
    return {};
  }
}

}  // namespace

int64_t sl_registry_type_count(const sl_registry* registry) {
  return std::ssize(types_of(registry));
}

const char* sl_registry_type(const sl_registry* registry, int64_t index) {
  const std::span<const std::string> types = types_of(registry);
  if (index < 0 || index >= std::ssize(types)) return nullptr;
  return types[static_cast<size_t>(index)].c_str();
}

void sl_registry_free(sl_registry* registry) { delete registry; }

sl_status sl_weight_source_find(const sl_weight_source* source, const char* collection,
                                const char* name, sl_sequence* tensor, sl_error* error) {
  return guard(error, [&] {
    const sl::Tensor found =
        not_null(source, "source")
            ->scope.get_any(not_null(name, "name"), collection ? collection : "params");
    sl::capi::set_tensor(found, not_null(tensor, "tensor"), "tensor");
  });
}
