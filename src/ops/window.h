// Arithmetic of windows that slide over an axis with kernel size, stride, dilation and padding:
// shared by all layers that convolve, pool or frame. Time axes also have streaming and masks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "core/ratio.h"
#include "core/receptive_field.h"

namespace sl::ops {

// How an axis is padded, with `extent` the kernel size after dilation. The modes also differ in
// when an output step is valid: if the input step at its own position is, or (those marked *) if
// all of its inputs are.
enum class Padding {
  kValid,               // * none
  kSame,                // extent - 1, half on each side
  kCausalValid,         // * extent - 1 before, which count as valid
  kReverseCausalValid,  // * extent - 1 after
  kCausal,              // extent - 1 before
  kReverseCausal,       // extent - 1 after
  kSemicausal,          // extent - stride before, the rest of extent - 1 after
  kSemicausalFull,      // extent - stride before, extent - 1 after; valid if any input is
  kExplicit,            // any amounts
};

struct Pads {
  int64_t before = 0;
  int64_t after = 0;
};

struct PaddingMode {
  Padding mode = Padding::kValid;
  Pads amounts;  // of kExplicit
};

// A mode's name or, if `allow_explicit`, [before, after].
PaddingMode read_padding(Config& config, const char* field, Padding otherwise,
                         bool allow_explicit = false);
PaddingMode to_padding(const Config& config, std::string_view field, const Json& value,
                       bool allow_explicit);

// The padding fields of a layer over time and `rank` - 1 spatial dimensions: `padding`, or
// `time_padding` and `spatial_padding`.
std::vector<PaddingMode> read_paddings(Config& config, size_t rank);

struct Window {
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t dilation = 1;
  PaddingMode padding;

  int64_t extent() const { return (kernel - 1) * dilation + 1; }
  Pads pads() const;
  // Windows that fit into `length` steps as they are, and after padding.
  int64_t count_in(int64_t length) const {
    return length < extent() ? 0 : (length - extent()) / stride + 1;
  }
  int64_t output_length(int64_t length) const {
    return count_in(checked_sum(length, pads().before, pads().after));
  }

  // Streaming, where a step's windows reach `history` steps back from the first of its inputs.
  bool supports_step() const;
  // Why it does not and what to change, of a padding that goes by the name of `field`.
  std::string step_obstacle(std::string_view field) const;
  int64_t input_latency() const;
  int64_t output_latency() const;
  int64_t history() const;
  // Whether the history before the first step counts as valid.
  bool history_is_valid() const;
  ReceptiveFields receptive_field() const;
  // Whether outputs within the latency can be valid, behind so many invalid steps.
  bool is_valid_early(int64_t early) const;

  // The output's mask of one batch item: output_length(time) values.
  void layer_mask(const uint8_t* mask, int64_t time, uint8_t* out) const;
  // The same when stepping, from the mask of history and input together: count_in(length) values.
  void step_mask(const uint8_t* mask, int64_t length, uint8_t* out) const;

 private:
  bool needs_all_inputs() const;
};

// What the padding `field` of TensorFlow's layers says where it is not "causal": no other steps.
std::string only_causal_steps(std::string_view field);

// A window for each of the paddings, from `kernel_field`, `strides` and `dilation_rate`.
std::vector<Window> read_windows(Config& config, const char* kernel_field,
                                 const std::vector<PaddingMode>& paddings);

}  // namespace sl::ops
