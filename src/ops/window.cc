#include "ops/window.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace sl::ops {
namespace {

constexpr int64_t kMaxSteps = int64_t{1} << 31;

const std::vector<std::string>& mode_names() {
  static const std::vector<std::string> names = {
      "valid",  "same",           "causal_valid", "reverse_causal_valid",
      "causal", "reverse_causal", "semicausal",   "semicausal_full"};
  return names;
}

// A mask that is continued with one value on both sides.
struct PaddedMask {
  const uint8_t* mask;
  int64_t time;
  uint8_t outside;

  bool at(int64_t i) const { return (i < 0 || i >= time ? outside : mask[i]) != 0; }
};

// out[i] = whether all inputs of window i, or with `any` one of them, are valid. The first window
// starts at step `start`.
void reduce_windows(const PaddedMask& mask, const Window& window, int64_t start, int64_t count,
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

}  // namespace

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
              fmt::format("\"{}\"", mode_names()[static_cast<size_t>(fallback)]));
  if (!config.has(field)) return {fallback, {}};
  return to_padding(config, field, config.json()[field], allow_explicit);
}

std::vector<PaddingMode> read_paddings(Config& config, size_t rank) {
  if (rank == 1) return {read_padding(config, "padding", Padding::kValid)};
  std::vector<PaddingMode> out(rank, PaddingMode{Padding::kSame, {}});
  out[0] = read_padding(config, "time_padding", Padding::kValid);
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
  }
  return out;
}

Pads Window::pads() const {
  const int64_t all = extent() - 1;
  switch (padding.mode) {
    case Padding::kValid:
      return {0, 0};
    case Padding::kSame:
      return {all / 2, all - all / 2};
    case Padding::kCausalValid:
    case Padding::kCausal:
      return {all, 0};
    case Padding::kReverseCausalValid:
    case Padding::kReverseCausal:
      return {0, all};
    case Padding::kSemicausal: {
      const int64_t before = std::max<int64_t>(extent() - stride, 0);
      return {before, all - before};
    }
    case Padding::kSemicausalFull:
      return {std::max<int64_t>(extent() - stride, 0), all};
    case Padding::kExplicit:
      break;
  }
  return padding.amounts;
}

bool Window::supports_step() const {
  switch (padding.mode) {
    case Padding::kCausalValid:
    case Padding::kReverseCausalValid:
    case Padding::kCausal:
    case Padding::kReverseCausal:
    case Padding::kSemicausal:
      return true;
    case Padding::kExplicit:
      return padding.amounts.before + padding.amounts.after == extent() - 1;
    default:
      return false;
  }
}

std::string Window::step_obstacle(std::string_view field) const {
  if (supports_step()) return {};
  const auto same_as_causal = [&](const char* mode) {
    return fmt::format(
        "{} \"{}\" does not step, not even with a kernel of 1: use \"causal\", which "
        "is then the same",
        field, mode);
  };
  switch (padding.mode) {
    case Padding::kValid:
      if (extent() == 1) return same_as_causal("valid");
      return fmt::format(
          "{} \"valid\" makes fewer steps than a stream must: use \"reverse_causal_valid\", which "
          "makes the same ones {} steps later",
          field, extent() - 1);
    case Padding::kSame:
      if (extent() == 1) return same_as_causal("same");
      return fmt::format(
          "{} \"same\" does not step: use \"causal\", which sees no step of the future, or "
          "\"reverse_causal\", which waits for {}",
          field, extent() - 1);
    case Padding::kSemicausalFull:
      return fmt::format(
          "{} \"semicausal_full\" makes more steps than a stream can: use "
          "\"semicausal\", the same without them",
          field);
    default:
      return fmt::format("{} [{}, {}] does not step: use amounts that add up to {}", field,
                         padding.amounts.before, padding.amounts.after, extent() - 1);
  }
}

std::string only_causal_steps(std::string_view field) {
  return fmt::format("of TensorFlow's {} only \"causal\" steps: use it", field);
}

int64_t Window::input_latency() const {
  switch (padding.mode) {
    case Padding::kReverseCausalValid:
    case Padding::kReverseCausal:
    case Padding::kSemicausalFull:
      return extent() - 1;
    case Padding::kExplicit:
      return std::max<int64_t>(extent() - 1 - padding.amounts.before, 0);
    default:
      return 0;
  }
}

int64_t Window::output_latency() const {
  return padding.mode == Padding::kSemicausalFull ? 0 : input_latency() / stride;
}

// In steps, windows start at multiples of the stride from the first window of `layer`, so that the
// state needs no offset.
int64_t Window::history() const {
  switch (padding.mode) {
    case Padding::kSemicausal:
      return std::max<int64_t>(extent() - stride, 0);
    case Padding::kReverseCausalValid:
    case Padding::kReverseCausal:
      return (extent() - 1) / stride * stride;
    case Padding::kExplicit:
      return extent() - 1 - padding.amounts.after % stride;
    default:
      return extent() - 1;
  }
}

bool Window::history_is_valid() const {
  switch (padding.mode) {
    case Padding::kCausalValid:
    case Padding::kReverseCausalValid:
    case Padding::kSemicausalFull:
    case Padding::kExplicit:
      return true;
    default:
      return false;
  }
}

bool Window::is_valid_early(int64_t early) const {
  if (!history_is_valid() || output_latency() == 0) return false;
  // Windows without gaps that need all inputs to be valid cover an invalid one until the latency
  // ends.
  return !needs_all_inputs() || early == 0 || dilation > 1;
}

ReceptiveFields Window::receptive_field() const {
  const int64_t start = -pads().before;
  return {StepRange{start, start + extent() - 1}};
}

bool Window::needs_all_inputs() const {
  return padding.mode == Padding::kValid || padding.mode == Padding::kCausalValid ||
         padding.mode == Padding::kReverseCausalValid;
}

void Window::layer_mask(const uint8_t* mask, int64_t time, uint8_t* out) const {
  const int64_t count = output_length(time);
  const bool any = padding.mode == Padding::kSemicausalFull;
  if (any || needs_all_inputs()) {
    const PaddedMask padded{mask, time, padding.mode == Padding::kCausalValid};
    reduce_windows(padded, *this, -pads().before, count, any, out);
    return;
  }
  for (int64_t i = 0; i < count; ++i) out[i] = i * stride < time ? mask[i * stride] : 0;
}

void Window::step_mask(const uint8_t* mask, int64_t length, uint8_t* out) const {
  const int64_t count = count_in(length);
  if (needs_all_inputs()) {
    reduce_windows({mask, length, 0}, *this, 0, count, false, out);
    return;
  }
  const uint8_t* own = mask + pads().before;
  for (int64_t i = 0; i < count; ++i) out[i] = own[i * stride];
}

}  // namespace sl::ops
