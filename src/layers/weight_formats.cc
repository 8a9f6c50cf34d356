#include "layers/weight_formats.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/config.h"
#include "core/status.h"
#include "kernels/kv_rows.h"

namespace sl {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

WeightFormat parse_format(std::string_view name, std::string_view entry) {
  if (const auto format = weight_format_named(name)) return *format;
  fail(Code::kInvalidArgument, "weight format \"{}\" in \"{}\": expected one of {}", name, entry,
       fmt::join(kWeightFormatNames, ", "));
}

// Whether the text matches a pattern in which "*" stands for any characters.
bool matches_pattern(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, after = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++after;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

// A pattern may leave out the collection, with which the name begins.
bool matches_tensor(std::string_view pattern, std::string_view tensor) {
  return matches_pattern(pattern, tensor) ||
         matches_pattern(pattern, tensor.substr(tensor.find('.') + 1));
}

}  // namespace

WeightFormat parse_kv_format(std::string_view name) {
  const auto format = weight_format_named(name);
  if (format && kernels::holds_kv_rows(*format)) return *format;
  fail(Code::kInvalidArgument, "kv_format \"{}\": expected float32, bfloat16 or int8", name);
}

WeightFormats::WeightFormats(std::string_view text) {
  if (trimmed(text).empty()) return;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view entry = trimmed(text.substr(begin, end - begin));
    begin = end + 1;
    const size_t equals = entry.find('=');
    if (equals == std::string_view::npos) {
      const WeightFormat format = parse_format(entry, text);
      if (all_) {
        fail(Code::kInvalidArgument, "weight formats \"{}\": two formats without a pattern", text);
      }
      all_ = format;
      continue;
    }
    const std::string_view pattern = trimmed(entry.substr(0, equals));
    if (pattern.empty()) {
      fail(Code::kInvalidArgument, "weight formats \"{}\": the pattern before \"=\" is empty",
           text);
    }
    entries_.push_back(
        {std::string(pattern), parse_format(trimmed(entry.substr(equals + 1)), entry)});
  }
}

std::optional<WeightFormat> WeightFormats::of(std::string_view tensor) const {
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    if (matches_tensor(entry->pattern, tensor)) return entry->format;
  }
  return all_;
}

void WeightFormats::check_used(std::span<const std::string> tensors) const {
  for (const Entry& entry : entries_) {
    const bool used = std::ranges::any_of(
        tensors, [&](const std::string& name) { return matches_tensor(entry.pattern, name); });
    if (used) continue;
    std::vector<std::string> names;
    for (const std::string& name : tensors) names.push_back(name.substr(name.find('.') + 1));
    const std::string near = nearest_name(entry.pattern, names);
    fail(Code::kInvalidArgument,
         "weight formats: the pattern \"{}\" matches no tensor of which the model makes a matrix{}",
         entry.pattern, near.empty() ? "" : fmt::format("; it has \"{}\"", near));
  }
}

}  // namespace sl
