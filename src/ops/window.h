// Arithmetic of windows that slide over an axis with kernel size, stride, dilation and padding,
// shared by all layers that convolve, pool or frame. For time axes it also has steps and masks.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "core/ratio.h"
#include "core/receptive_field.h"

namespace sl::ops {

// How an axis is padded.
enum class Padding {
#define SL_PADDING(Name, ...) k##Name,
#include "ops/paddings.inc"
};

// Name in configs; empty for explicit amounts.
const char* name_of(Padding mode);

struct Pads {
  int64_t before = 0;
  int64_t after = 0;
};

struct PaddingMode {
  Padding mode = Padding::kValid;
  Pads amounts;  // for kExplicit and kAmounts
};

// Reads the name of a mode or, if `allow_explicit`, [before, after]. `fallback` is the default.
PaddingMode read_padding(Config& config, const char* field, Padding fallback,
                         bool allow_explicit = false);
PaddingMode to_padding(const Config& config, std::string_view field, const Json& value,
                       bool allow_explicit);

// Reads the name of one of `modes`.
Padding read_padding_among(Config& config, const char* field, std::span<const Padding> modes,
                           Padding fallback);

// Reads the padding of time: the name of a mode or amounts [before, after], which check_amounts has
// to check when the kernel is known.
PaddingMode read_time_padding(Config& config, const char* field, Padding fallback);

// Reads the padding fields of a layer over time and rank - 1 spatial dimensions: `padding` if rank
// is 1, `time_padding` and `spatial_padding` if it is more.
std::vector<PaddingMode> read_paddings(Config& config, size_t rank);

struct Window {
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t dilation = 1;
  PaddingMode padding;

  int64_t extent() const { return (kernel - 1) * dilation + 1; }
  Pads pads() const;
  // Number of windows that fit into `length` steps without padding.
  int64_t count_in(int64_t length) const {
    return length < extent() ? 0 : (length - extent()) / stride + 1;
  }
  int64_t output_length(int64_t length) const {
    return count_in(checked_sum(length, pads().before, pads().after));
  }

  // Whether a step can compute the outputs, by keeping history() earlier input steps.
  bool supports_step() const;
  // Message that says why this window does not support steps and what to change; `field` is the
  // padding's name in the config.
  std::string step_obstacle(std::string_view field) const;
  int64_t input_latency() const;
  int64_t output_latency() const;
  int64_t history() const;
  // Whether steps are by any amounts of padding.
  bool is_by_amounts() const { return padding.mode == Padding::kAmounts; }
  // Whether the history before the first step counts as valid.
  bool history_is_valid() const;
  ReceptiveFields receptive_field() const;
  // Whether outputs within the output latency can be valid after `early` invalid input steps.
  bool is_valid_early(int64_t early) const;

  // Computes the mask of one batch item in a layer-wise run, of output_length(time) values.
  void layer_mask(const uint8_t* mask, int64_t time, uint8_t* out) const {
    layer_mask(mask, time, 0, output_length(time), out);
  }
  // Only values [begin, end).
  void layer_mask(const uint8_t* mask, int64_t time, int64_t begin, int64_t end,
                  uint8_t* out) const;
  // Computes the mask of one batch item in a step, of count_in(length) values, from the mask of
  // history and input together.
  void step_mask(const uint8_t* mask, int64_t length, uint8_t* out) const;
};

// Fails if the amounts of padding exceed the window: some windows would see only padding.
void check_amounts(const Config& config, const char* field, const Window& window);

// Message for layers that support steps only with the padding "causal", as TensorFlow's do; `field`
// is the padding's name in the config.
std::string only_causal_steps(std::string_view field);

// Reads one window for each of the paddings from `kernel_field`, `strides` and `dilation_rate`.
std::vector<Window> read_windows(Config& config, const char* kernel_field,
                                 const std::vector<PaddingMode>& paddings);

}  // namespace sl::ops
