// Arithmetic of a transposed convolution along one axis: each input step adds `kernel` taps to the
// output, `stride` output steps after the taps of the input step before.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/receptive_field.h"
#include "ops/window.h"

namespace sl::ops {

struct TransposedWindow {
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t dilation = 1;
  Padding mode = Padding::kValid;  // or kSame, kCausal, kSemicausalFull, kAmounts
  Pads amounts = {};               // for kAmounts: output steps that are cut off

  int64_t extent() const { return (kernel - 1) * dilation + 1; }
  // Number of output steps that are left out at the start.
  int64_t crop() const;
  // Output length minus `stride` times the input length; may be negative.
  int64_t surplus() const;
  int64_t output_length(int64_t length) const;

  bool is_by_amounts() const { return mode == Padding::kAmounts; }
  // Streams with amounts are those of the causal window: the steps that are cut off at the start
  // are its output latency.
  bool supports_step() const {
    return mode == Padding::kCausal || (is_by_amounts() && amounts.after <= extent() - stride);
  }
  int64_t input_latency() const;
  int64_t output_latency() const { return is_by_amounts() ? amounts.before : 0; }
  // The number of earlier input steps whose masks decide over the steps of a stream.
  int64_t mask_history() const;
  // Message that says why this window does not support steps and what to change; `field` is the
  // padding's name in the config.
  std::string step_obstacle(std::string_view field) const;
  // Number of earlier input steps that contribute to an output step.
  int64_t history() const { return supports_step() ? (extent() - 1) / stride : 0; }
  ReceptiveFields receptive_field() const;

  // Computes the mask of one batch item in a layer-wise run, of output_length(time) values.
  void layer_mask(const uint8_t* mask, int64_t time, uint8_t* out) const;
  // Computes the mask of one batch item in a step, of stride * time values. With amounts `mask` has
  // mask_history() steps before.
  void step_mask(const uint8_t* mask, int64_t time, uint8_t* out) const;

  // Output steps stride * q + phase are an ordinary convolution of stride 1. Its tap i is element
  // `tap + i * tap_step()` of the flipped kernel and meets input step q - lag - i * lag_step().
  struct Phase {
    int64_t phase = 0;
    int64_t lag = 0;
    int64_t tap = 0;
    int64_t taps = 0;
    int64_t surplus = 0;  // output steps of the phase minus the number of input steps
  };
  // Phases that have taps, in ascending order.
  std::vector<Phase> phases() const;
  int64_t tap_step() const;
  int64_t lag_step() const;
};

// Reads one of the padding modes that transposed convolutions have, or amounts; `fallback` is the
// default.
PaddingMode read_transposed_padding(Config& config, const char* field, Padding fallback);

}  // namespace sl::ops
