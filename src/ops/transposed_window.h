// Arithmetic of transposed convolution along an axis: each input step puts `kernel` taps on the
// output, `stride` steps after the one before it.
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
  Padding mode = Padding::kValid;  // or kSame, kCausal, kSemicausalFull

  int64_t extent() const { return (kernel - 1) * dilation + 1; }
  // Output steps that are left out at the start.
  int64_t crop() const;
  // Output steps beyond `stride` for each input step; may be negative.
  int64_t surplus() const;
  int64_t output_length(int64_t length) const;

  bool supports_step() const { return mode == Padding::kCausal; }
  // Why it does not and what to change, of a padding that goes by the name of `field`.
  std::string step_obstacle(std::string_view field) const;
  // Input steps before its own that an output step reaches back to.
  int64_t history() const { return mode == Padding::kCausal ? (extent() - 1) / stride : 0; }
  ReceptiveFields receptive_field() const;

  // The output's mask of one batch item: output_length(time) values.
  void layer_mask(const uint8_t* mask, int64_t time, uint8_t* out) const;
  // The same when stepping: stride * time values.
  void step_mask(const uint8_t* mask, int64_t time, uint8_t* out) const;

  // Output steps stride * q + phase are an ordinary convolution of stride 1: tap i, at `tap + i *
  // tap_step()` of the flipped kernel, is of input step q - lag - i * lag_step().
  struct Phase {
    int64_t phase = 0;
    int64_t lag = 0;
    int64_t tap = 0;
    int64_t taps = 0;
    int64_t surplus = 0;  // output steps beyond one for each input step
  };
  // Phases that have taps, in ascending order.
  std::vector<Phase> phases() const;
  int64_t tap_step() const;
  int64_t lag_step() const;
};

// One of the modes that transposed convolutions have.
Padding read_transposed_padding(Config& config, const char* field, Padding otherwise);

}  // namespace sl::ops
