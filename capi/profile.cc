#include "core/profile.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "convert.h"
#include "handles.h"

namespace {

using sl::capi::guard;
using sl::capi::not_null;

std::string index_of(int64_t entry) { return entry < 0 ? "null" : std::to_string(entry); }

// Written as text from the start: a tree of JSON values could not be freed without memory.
std::string text_of(const sl::Profile& profile) {
  std::string layers;
  for (const sl::Profile::Entry& entry : profile.entries()) {
    layers += fmt::format(
        R"({}{{"path":{},"type":{},"parent":{},"calls":{},"self_seconds":{:.9f},"flop":{},"bytes":{},"folded_into":{}}})",
        layers.empty() ? "" : ",", nlohmann::json(entry.path).dump(),
        nlohmann::json(entry.type).dump(), index_of(entry.parent), entry.calls,
        1e-9 * static_cast<double>(entry.nanoseconds), entry.flop, entry.bytes,
        index_of(entry.folded_into));
  }
  return fmt::format(R"({{"layers":[{}]}})", layers);
}

}  // namespace

sl_status sl_profile_create(sl_profile** out, sl_error* error) {
  return guard(error, [&] { *not_null(out, "out") = new sl_profile(); });
}

sl_status sl_profile_reset(sl_profile* profile, sl_error* error) {
  return guard(error, [&] { not_null(profile, "profile")->recorded.clear(); });
}

sl_status sl_profile_describe(const sl_profile* profile, char* buffer, size_t capacity,
                              size_t* needed, sl_error* error) {
  return guard(error, [&] {
    const std::string text = text_of(not_null(profile, "profile")->recorded);
    sl::capi::write_text(text, buffer, capacity, needed);
  });
}

void sl_profile_free(sl_profile* profile) { delete profile; }
