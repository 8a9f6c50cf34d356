#include "ops/transposed_window.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

namespace sl::ops {

int64_t TransposedWindow::crop() const {
  switch (mode) {
    case Padding::kSame:
      return stride > extent() - 1 ? 0 : extent() - 1 - ceil_div(extent() + stride - 2, 2);
    case Padding::kSemicausalFull:
      return stride - 1;
    case Padding::kAmounts:
      return amounts.before;
    default:
      return 0;
  }
}

int64_t TransposedWindow::surplus() const {
  switch (mode) {
    case Padding::kValid:
      return std::max<int64_t>(extent() - stride, 0);
    case Padding::kSemicausalFull:
      return extent() + 1 - 2 * stride;
    case Padding::kAmounts:
      return extent() - stride - amounts.before - amounts.after;
    default:
      return 0;
  }
}

int64_t TransposedWindow::output_length(int64_t length) const {
  return length == 0
             ? 0
             : std::max<int64_t>(checked_sum(checked_product(length, stride), surplus()), 0);
}

std::string TransposedWindow::step_obstacle(std::string_view field) const {
  const auto use_causal = [&](const char* own, const std::string& what) {
    return fmt::format("{} \"{}\" does not step: use \"causal\"{}", field, own, what);
  };
  const std::string same = ", which is here the same";
  switch (mode) {
    case Padding::kCausal:
      return {};
    case Padding::kValid:
      if (surplus() == 0) return use_causal("valid", same);
      return use_causal("valid",
                        fmt::format(", the same but for the last {} steps, which come after the "
                                    "end",
                                    surplus()));
    case Padding::kAmounts:
      if (supports_step()) return {};
      return fmt::format(
          "{} [{}, {}] does not step: use a second amount of at most kernel less stride, {}", field,
          amounts.before, amounts.after, std::max<int64_t>(extent() - stride, 0));
    case Padding::kSame:
      if (crop() == 0) return use_causal("same", same);
      return use_causal("same", fmt::format(", which makes the same steps {} later", crop()));
    default:
      return use_causal("semicausal_full", "");
  }
}

int64_t TransposedWindow::input_latency() const {
  return is_by_amounts() && supports_step() ? ceil_div(extent() - stride - amounts.after, stride)
                                            : 0;
}

int64_t TransposedWindow::mask_history() const {
  return is_by_amounts() ? ceil_div(amounts.before + std::max<int64_t>(surplus(), 0), stride) : 0;
}

ReceptiveFields TransposedWindow::receptive_field() const {
  // Number of zeros before the input once it is spread by the stride.
  const int64_t before = extent() - 1 - crop();
  ReceptiveFields out = repeated(std::nullopt, stride);
  for (int64_t i = 0; i < stride; ++i) {
    const StepRange range{ceil_div(i - before, stride), floor_div(i + crop(), stride)};
    if (range.start <= range.end) out[static_cast<size_t>(i)] = range;
  }
  return out;
}

namespace {

// Whether a run over the valid steps alone makes output step i of a window with amounts: all steps
// from its own on, as many as the output is shorter than `stride` times the input, must be valid,
// or if it is longer, one of as many before. `mask` has input steps [first, end).
bool is_made(const TransposedWindow& window, const uint8_t* mask, int64_t first, int64_t end,
             int64_t i) {
  const int64_t surplus = window.surplus();
  const int64_t from = floor_div(i - std::max<int64_t>(surplus, 0), window.stride);
  const int64_t to = floor_div(i - std::min<int64_t>(surplus, 0), window.stride);
  const bool any = surplus > 0;
  for (int64_t t = from; t <= to; ++t) {
    const bool valid = t >= first && t < end && mask[t - first] != 0;
    if (valid == any) return any;
  }
  return !any;
}

}  // namespace

void TransposedWindow::step_mask(const uint8_t* mask, int64_t time, uint8_t* out) const {
  if (is_by_amounts()) {
    const int64_t first = -mask_history();
    for (int64_t i = 0; i < time * stride; ++i)
      out[i] = is_made(*this, mask, first, time, i - amounts.before) ? 1 : 0;
    return;
  }
  for (int64_t t = 0; t < time; ++t) std::fill_n(out + t * stride, stride, mask[t]);
}

void TransposedWindow::layer_mask(const uint8_t* mask, int64_t time, uint8_t* out) const {
  if (is_by_amounts()) {
    for (int64_t i = 0; i < output_length(time); ++i)
      out[i] = is_made(*this, mask, 0, time, i) ? 1 : 0;
    return;
  }
  const bool any = mode == Padding::kSemicausalFull;
  if (!any && (mode != Padding::kValid || extent() <= stride)) {
    step_mask(mask, time, out);
    return;
  }
  // An output step is valid if no invalid input step adds to it or, with `any`, if a valid one
  // does.
  const int64_t length = output_length(time);
  std::fill_n(out, length, any ? 0 : 1);
  for (int64_t t = 0; t < time; ++t) {
    if ((mask[t] != 0) != any) continue;
    for (int64_t k = 0; k < kernel; ++k) {
      const int64_t i = t * stride + k * dilation - crop();
      if (i >= 0 && i < length) out[i] = any ? 1 : 0;
    }
  }
}

int64_t TransposedWindow::tap_step() const { return stride / std::gcd(stride, dilation); }
int64_t TransposedWindow::lag_step() const { return dilation / std::gcd(stride, dilation); }

std::vector<TransposedWindow::Phase> TransposedWindow::phases() const {
  std::map<int64_t, Phase> out;
  for (int64_t k = 0; k < kernel; ++k) {
    const int64_t at = k * dilation - crop();
    Phase& phase = out[floor_mod(at, stride)];
    if (phase.taps++ > 0) continue;
    phase.phase = floor_mod(at, stride);
    phase.lag = floor_div(at, stride);
    phase.tap = k;
    phase.surplus = ceil_div(surplus() - phase.phase, stride);
  }
  std::vector<Phase> all;
  for (const auto& [at, phase] : out) all.push_back(phase);
  return all;
}

PaddingMode read_transposed_padding(Config& config, const char* field, Padding fallback) {
  constexpr Padding kModes[] = {Padding::kValid, Padding::kSame, Padding::kCausal,
                                Padding::kSemicausalFull};
  config.note(field, R"("valid", "same", "causal", "semicausal_full" or [before, after])",
              fmt::format("\"{}\"", name_of(fallback)));
  if (!config.has(field) || !config.json()[field].is_array())
    return {read_padding_among(config, field, kModes, fallback), {}};
  return {Padding::kAmounts, to_padding(config, field, config.json()[field], true).amounts};
}

}  // namespace sl::ops
