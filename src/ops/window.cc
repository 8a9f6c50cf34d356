#include "ops/window.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace sl::ops {
namespace {

constexpr int64_t kMaxSteps = int64_t{1} << 31;

// Names of the modes, in their order; explicit amounts, which come last, have none.
const std::vector<std::string>& mode_names() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> all = {
#define SL_PADDING(Name, name, ...) name,
#include "ops/paddings.inc"
    };
    std::erase(all, "");
    return all;
  }();
  return kNames;
}

enum class Validity { kOwn, kAll, kAny, kAmounts };

// What a window does by its padding.
struct Rule {
  Pads pads;
  Validity validity;
  bool history_is_valid;
  bool steps;
  int64_t latency;
  int64_t history;
  const char* obstacle;
};

constexpr int64_t at_least_0(int64_t value) { return std::max<int64_t>(value, 0); }

// Inline, so that callers compute only what they use of it.
[[gnu::always_inline]] inline Rule rule_of(const Window& window) {
  using enum Validity;
  constexpr bool kValid = true, kInvalid = false;
  const int64_t all = window.extent() - 1, stride = window.stride;
  const Pads given = window.padding.amounts;
  switch (window.padding.mode) {
#define SL_PADDING(Name, name, before, after, validity, earlier, steps, latency, history, \
                   obstacle)                                                              \
  case Padding::k##Name:                                                                  \
    return {{before, after}, validity, earlier, steps, latency, history, obstacle};
#include "ops/paddings.inc"
  }
  return {};
}

// A mask that is continued with one value on both sides.
struct PaddedMask {
  const uint8_t* mask;
  int64_t time;
  uint8_t outside;

  bool at(int64_t i) const { return (i < 0 || i >= time ? outside : mask[i]) != 0; }
  // Whether all steps of the mask within [begin, end) are valid.
  bool is_valid(int64_t begin, int64_t end) const {
    begin = std::max<int64_t>(begin, 0);
    end = std::min(end, time);
    return begin >= end || !std::memchr(mask + begin, 0, static_cast<size_t>(end - begin));
  }
};

// out[i] = whether all inputs of window i, or with `any` one of them, are valid. The first window
// starts at step `start`.
void reduce_any_windows(const PaddedMask& mask, const Window& window, int64_t start, int64_t count,
                        bool any, uint8_t* out) {
  if (window.dilation == 1) {
    // One pass is enough, since the latest position that decides a window alone decides each
    // window.
    int64_t next = start, latest = start - 1;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t first = start + i * window.stride;
      for (; next < first + window.kernel; ++next) {
        if (mask.at(next) == any) latest = next;
      }
      out[i] = (latest >= first) == any;
    }
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t first = start + i * window.stride;
    bool decided = false;
    for (int64_t k = 0; k < window.kernel && !decided; ++k) {
      decided = mask.at(first + k * window.dilation) == any;
    }
    out[i] = decided == any;
  }
}

// Like reduce_any_windows. If all steps are valid, only windows at the edges need a look.
void reduce_windows(const PaddedMask& mask, const Window& window, int64_t start, int64_t count,
                    bool any, uint8_t* out) {
  int64_t first = 0, end = 0;  // windows within the mask
  if (mask.is_valid(start, start + (count - 1) * window.stride + window.extent())) {
    first = std::clamp<int64_t>(ceil_div(-start, window.stride), 0, count);
    end = std::max(first, std::min(count, window.count_in(mask.time - start)));
    std::fill(out + first, out + end, uint8_t{1});
  }
  reduce_any_windows(mask, window, start, first, any, out);
  reduce_any_windows(mask, window, start + end * window.stride, count - end, any, out + end);
}

// out[i] = whether output step i exists in a run over the valid steps alone. If the padding is less
// than a window needs to keep the length, all input steps from its own on, as many as are missing,
// must be valid; if it is more, one of the input steps as many before its own. Output step 0 has
// the input step `own`.
void reduce_amounts(const PaddedMask& mask, const Window& window, int64_t own, int64_t count,
                    uint8_t* out) {
  const int64_t missing = window.extent() - 1 - window.pads().before - window.pads().after;
  Window range;
  range.kernel = std::abs(missing) + 1;
  range.stride = window.stride;
  reduce_windows(mask, range, own + std::min<int64_t>(missing, 0), count, missing < 0, out);
}

}  // namespace

const char* name_of(Padding mode) {
  switch (mode) {
#define SL_PADDING(Name, name, ...) \
  case Padding::k##Name:            \
    return name;
#include "ops/paddings.inc"
  }
  return "";
}

PaddingMode to_padding(const Config& config, std::string_view field, const Json& value,
                       bool allow_explicit) {
  if (value.is_string()) {
    const auto& name = value.get_ref<const std::string&>();
    const auto it = std::ranges::find(mode_names(), name);
    if (it != mode_names().end()) {
      return {static_cast<Padding>(it - mode_names().begin()), {}};
    }
    const std::string near = nearest_name(name, mode_names());
    config.error(field,
                 fmt::format("expected one of \"{}\", got {}{}", fmt::join(mode_names(), "\", \""),
                             excerpt(value),
                             near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
  }
  const auto is_amount = [](const Json& v) {
    return v.is_number_integer() && v.get<int64_t>() >= 0 && v.get<int64_t>() < kMaxSteps;
  };
  if (allow_explicit && value.is_array() && value.size() == 2 && is_amount(value[0]) &&
      is_amount(value[1])) {
    return {Padding::kExplicit, {value[0].get<int64_t>(), value[1].get<int64_t>()}};
  }
  config.error(field,
               fmt::format("expected one of \"{}\"{}, got {}", fmt::join(mode_names(), "\", \""),
                           allow_explicit ? " or two amounts [before, after] of at least 0" : "",
                           excerpt(value)));
}

PaddingMode read_padding(Config& config, const char* field, Padding fallback, bool allow_explicit) {
  config.note(field, allow_explicit ? "padding or [before, after]" : "padding",
              fmt::format("\"{}\"", name_of(fallback)));
  if (!config.has(field)) return {fallback, {}};
  return to_padding(config, field, config.json()[field], allow_explicit);
}

Padding read_padding_among(Config& config, const char* field, std::span<const Padding> modes,
                           Padding fallback) {
  std::vector<std::string> names;
  for (const Padding mode : modes) names.emplace_back(name_of(mode));
  const auto at = static_cast<size_t>(std::ranges::find(modes, fallback) - modes.begin());
  return modes[config.choice(field, names, at)];
}

PaddingMode read_time_padding(Config& config, const char* field, Padding fallback) {
  PaddingMode out = read_padding(config, field, fallback, true);
  if (out.mode == Padding::kExplicit) out.mode = Padding::kAmounts;
  return out;
}

std::vector<PaddingMode> read_paddings(Config& config, size_t rank) {
  if (rank == 1) return {read_time_padding(config, "padding", Padding::kValid)};
  std::vector<PaddingMode> out(rank, PaddingMode{Padding::kSame, {}});
  out[0] = read_time_padding(config, "time_padding", Padding::kValid);
  if (rank == 2) {
    out[1] = read_padding(config, "spatial_padding", Padding::kSame, true);
    return out;
  }
  config.note("spatial_padding", "list of two, each a padding or [before, after]",
              R"(["same", "same"])");
  const Json* spatial = config.raw("spatial_padding");
  if (!spatial) return out;
  if (!spatial->is_array() || spatial->size() != rank - 1) {
    config.error("spatial_padding", "expected two paddings, one for each spatial dimension");
  }
  for (size_t i = 1; i < rank; ++i) {
    const std::string field = fmt::format("spatial_padding[{}]", i - 1);
    out[i] = to_padding(config, field, (*spatial)[i - 1], true);
  }
  return out;
}

std::vector<Window> read_windows(Config& config, const char* kernel_field,
                                 const std::vector<PaddingMode>& paddings) {
  const size_t rank = paddings.size();
  const auto kernels = config.integers_of(kernel_field, rank, 1);
  const auto strides = config.integers_of("strides", rank, 1, 1);
  const auto dilations = config.integers_of("dilation_rate", rank, 1, 1);
  std::vector<Window> out;
  for (size_t i = 0; i < rank; ++i) {
    if (strides[i] > kMaxSteps) config.error("strides", "is larger than 2^31");
    if (kernels[i] > kMaxSteps || dilations[i] > kMaxSteps / kernels[i]) {
      config.error(kernel_field, "covers, with its dilation, more than 2^31 steps");
    }
    out.push_back({kernels[i], strides[i], dilations[i], paddings[i]});
    check_amounts(config, rank == 1 ? "padding" : "time_padding", out[i]);
  }
  return out;
}

void check_amounts(const Config& config, const char* field, const Window& window) {
  const int64_t most = std::max(window.padding.amounts.before, window.padding.amounts.after);
  if (!window.is_by_amounts() || most < window.extent()) return;
  config.error(field, fmt::format("expected amounts of at most {}, as a window covers {} steps",
                                  window.extent() - 1, window.extent()));
}

Pads Window::pads() const { return rule_of(*this).pads; }

bool Window::supports_step() const { return rule_of(*this).steps; }

std::string Window::step_obstacle(std::string_view field) const {
  const Rule rule = rule_of(*this);
  if (rule.steps) return {};
  std::string name = name_of(padding.mode);
  if (!name.empty()) name = fmt::format(" \"{}\"", name);
  if (extent() == 1 && rule.pads.before + rule.pads.after == 0) {
    return fmt::format(
        "{}{} does not step, not even with a kernel of 1: use \"causal\", which is then the same",
        field, name);
  }
  const std::string reason = fmt::format(fmt::runtime(rule.obstacle), fmt::arg("all", extent() - 1),
                                         fmt::arg("before", padding.amounts.before),
                                         fmt::arg("after", padding.amounts.after));
  if (padding.mode != Padding::kSame) return fmt::format("{}{} {}", field, name, reason);
  return fmt::format("{}{} {}; [{}, {}] makes the same steps {} later", field, name, reason,
                     rule.pads.before, rule.pads.after, rule.pads.after);
}

std::string only_causal_steps(std::string_view field) {
  return fmt::format("of TensorFlow's {} only \"causal\" steps: use it", field);
}

int64_t Window::input_latency() const { return rule_of(*this).latency; }

int64_t Window::output_latency() const {
  const Rule rule = rule_of(*this);
  if (is_by_amounts()) return (extent() - 1 - rule.pads.before) / stride;
  return rule.validity == Validity::kAny ? 0 : rule.latency / stride;
}

int64_t Window::history() const { return rule_of(*this).history; }

bool Window::history_is_valid() const { return rule_of(*this).history_is_valid; }

bool Window::is_valid_early(int64_t early) const {
  if (!history_is_valid() || output_latency() == 0) return false;
  // Windows without gaps that need all inputs to be valid cover an invalid one until the latency
  // ends.
  return rule_of(*this).validity != Validity::kAll || early == 0 || dilation > 1;
}

ReceptiveFields Window::receptive_field() const {
  const int64_t start = -pads().before;
  return {StepRange{start, start + extent() - 1}};
}

void Window::layer_mask(const uint8_t* mask, int64_t time, int64_t begin, int64_t end,
                        uint8_t* out) const {
  const Rule rule = rule_of(*this);
  if (rule.validity == Validity::kAmounts) {
    reduce_amounts({mask, time, 0}, *this, begin * stride, end - begin, out);
    return;
  }
  if (rule.validity != Validity::kOwn) {
    const bool any = rule.validity == Validity::kAny;
    // Only padding before the first step can count as valid.
    const PaddedMask padded{mask, time, !any && rule.history_is_valid && rule.pads.after == 0};
    reduce_windows(padded, *this, begin * stride - rule.pads.before, end - begin, any, out);
    return;
  }
  if (stride == 1) {
    const int64_t within = std::clamp<int64_t>(time - begin, 0, end - begin);
    std::fill(std::copy_n(mask + begin, within, out), out + end - begin, uint8_t{0});
    return;
  }
  for (int64_t i = begin; i < end; ++i) out[i - begin] = i * stride < time && mask[i * stride];
}

void Window::step_mask(const uint8_t* mask, int64_t length, uint8_t* out) const {
  const int64_t count = count_in(length);
  if (rule_of(*this).validity == Validity::kAmounts) {
    reduce_amounts({mask, length, 0}, *this, pads().before, count, out);
    return;
  }
  if (rule_of(*this).validity == Validity::kAll) {
    reduce_windows({mask, length, 0}, *this, 0, count, false, out);
    return;
  }
  const uint8_t* own = mask + pads().before;
  if (stride == 1) {
    std::copy_n(own, count, out);
    return;
  }
  for (int64_t i = 0; i < count; ++i) out[i] = own[i * stride];
}

}  // namespace sl::ops
