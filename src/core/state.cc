#include "core/state.h"

#include "core/allocator.h"
#include "core/status.h"

namespace sl {

size_t StateSpec::item_bytes() const {
  return checked_bytes(shape.slice(1, shape.rank()).size(), size_of(dtype));
}

std::string_view StateSpec::own_name() const {
  const std::string_view path = name;
  return path.substr(path.rfind('.') + 1);  // all of it without a dot
}

StateLayout layout_of(std::span<const StateSpec> specs) {
  StateLayout layout;
  for (const StateSpec& spec : specs) {
    layout.offsets.push_back(layout.bytes);
    try {
      layout.bytes = checked_add(layout.bytes, align_up(spec.bytes()));
    } catch (const SizeError& error) {
      fail(error.code(), "state \"{}\", after {} bytes of others: {}", spec.name, layout.bytes,
           error.what());
    }
  }
  return layout;
}

Slots slots_of(std::span<const int64_t> slots) {
  const auto count = static_cast<int64_t>(slots.size());
  const int64_t first = count == 0 ? 0 : slots[0];
  for (int64_t i = 1; i < count; ++i) {
    if (slots[static_cast<size_t>(i)] != first + i) return {slots.data(), 0, count};
  }
  return {nullptr, first, count};
}

}  // namespace sl
