// Adds frames where they overlap, for OverlapAdd and InverseSTFT (reference: dsp.OverlapAdd).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/pointwise.h"
#include "layers/layer.h"
#include "ops/elementwise.h"
#include "ops/transposed_window.h"
#include "ops/window.h"

namespace sl {

class OverlapAdding {
 public:
  OverlapAdding(Config& config, const char* padding_field, ops::Padding default_padding);

  int64_t frame_length() const { return length_; }
  int64_t frame_step() const { return step_; }

  bool supports_step() const { return padding_ == ops::Padding::kCausal; }
  std::string step_obstacle(std::string_view field) const {
    return ops::TransposedWindow{length_, step_, 1, padding_}.step_obstacle(field);
  }
  Ratio output_ratio() const { return Ratio(step_); }
  int64_t output_length(int64_t time) const;
  // The frames that contribute to each output step, where contributes(i) tells if value i of a
  // frame does.
  template <typename Contributes>
  ReceptiveFields receptive_field(Contributes&& contributes) const;
  bool is_semicausal() const { return padding_ == ops::Padding::kSemicausalFull; }
  // Declares the state. `values` is the spec of one value of a frame, with the dtype of the sums.
  void declare(Declaration& declaration, const SequenceSpec& input,
               const ChannelSpec& values) const;

  // Adds the frames of x. frame(b, t, buffer, scratch) returns frame t of item b with values of
  // type T, perhaps in `buffer`; it is called for valid frames only and has `floats` floats of
  // scratch. `out` is the spec of one output step.
  template <typename T, typename Frame>
  Sequence layer(Run& run, const Sequence& x, const ChannelSpec& out, int64_t floats,
                 Frame&& frame) const;
  template <typename T, typename Frame>
  Sequence step(Run& run, const Sequence& x, const ChannelSpec& out, int64_t floats,
                Frame&& frame) const;

 private:
  int64_t overlap() const { return length_ - step_; }
  // The number of output steps that are left out at the start.
  int64_t crop() const { return is_semicausal() ? overlap() : 0; }
  void layer_mask(const uint8_t* mask, int64_t time, uint8_t* out) const;

  template <typename T>
  static void add(const T* x, T* y, int64_t count) {
    if constexpr (std::is_same_v<T, float>) {
      kernels::binary(kernels::Binary::kAdd, y, x, y, count);
    } else if constexpr (std::is_integral_v<T>) {
      // Unsigned, so that overflow wraps.
      for (int64_t i = 0; i < count; ++i) {
        y[i] = static_cast<T>(static_cast<uint32_t>(y[i]) + static_cast<uint32_t>(x[i]));
      }
    } else {
      for (int64_t i = 0; i < count; ++i) y[i] += x[i];
    }
  }

  int64_t length_;
  int64_t step_;
  ops::Padding padding_;
};

template <typename Contributes>
ReceptiveFields OverlapAdding::receptive_field(Contributes&& contributes) const {
  // For semicausal_full the reference shifts the field as if a transposed convolution were cropped.
  const int64_t shift = is_semicausal() ? step_ - 1 : 0;
  ReceptiveFields out(static_cast<size_t>(step_));
  for (int64_t i = 0; i < step_; ++i) {
    ReceptiveField& field = out[static_cast<size_t>(i)];
    const int64_t first = ceil_div(i + shift - (length_ - 1), step_);
    for (int64_t t = first; t <= floor_div(i + shift, step_); ++t) {
      if (!contributes(i + shift - t * step_)) continue;
      field = field ? StepRange{field->start, t} : StepRange{t, t};
    }
  }
  return out;
}

template <typename T, typename Frame>
Sequence OverlapAdding::layer(Run& run, const Sequence& x, const ChannelSpec& out, int64_t floats,
                              Frame&& frame) const {
  const Sequence y = run.output(out, x.batch, output_length(x.time));
  const int64_t values = out.shape.size(), per_item = y.time * values;
  const bool direct = !is_half(out.dtype);
  T* sums = direct ? y.as<T>() : run.scratch<T>(y.size());
  const int64_t buffer_floats =
      checked_product(static_cast<int64_t>(sizeof(T) / sizeof(float) + 1), length_, values);
  for (int64_t b = 0; b < y.batch; ++b) {
    layer_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
    T* const item = sums + b * per_item;
    const auto add_part = [&](int64_t begin, int64_t end, float* scratch) {
      std::fill(item + begin * values, item + end * values, T());
      const int64_t first = std::max<int64_t>(0, ceil_div(begin + crop() - (length_ - 1), step_));
      for (int64_t t = first; t < x.time && t * step_ - crop() < end; ++t) {
        if (!*x.mask_at(b, t)) continue;
        const T* const from = frame(b, t, reinterpret_cast<T*>(scratch + floats), scratch);
        const int64_t at = t * step_ - crop();
        const int64_t low = std::max(at, begin), high = std::min(at + length_, end);
        add(from + (low - at) * values, item + low * values, (high - low) * values);
      }
    };
    // Threads add parts of y; a frame across a border between parts is computed twice.
    ops::for_ranges_with_scratch(run, y.time, 16 * length_, checked_sum(floats, buffer_floats),
                                 add_part);
  }
  if (!direct) ops::convert(sums, DType::kFloat32, y.values, y.dtype, y.size());
  return y;
}

template <typename T, typename Frame>
Sequence OverlapAdding::step(Run& run, const Sequence& x, const ChannelSpec& out, int64_t floats,
                             Frame&& frame) const {
  const Sequence y = run.output(out, x.batch, x.time * step_);
  const int64_t values = out.shape.size();
  const auto pending = run.state<T>("pending");
  const auto position = run.state<int32_t>("position");
  auto* const scratch = run.scratch<float>(floats);
  T* const buffer = run.scratch<T>(length_, values);
  const bool direct = !is_half(out.dtype);
  T* const sums = direct ? y.as<T>() : run.scratch<T>(y.size());
  for (int64_t b = 0; b < x.batch; ++b) {
    // The ring holds the sums of later output steps and begins at `next`.
    T* const ring = pending + b * length_ * values;
    int64_t next = position[b];
    for (int64_t t = 0; t < x.time; ++t) {
      const int64_t until_end = length_ - next;
      if (*x.mask_at(b, t)) {
        const T* const from = frame(b, t, buffer, scratch);
        add(from, ring + next * values, until_end * values);
        add(from + until_end * values, ring, next * values);
      }
      T* const to = sums + (b * x.time + t) * step_ * values;
      const int64_t first = std::min(step_, until_end);
      const auto take = [&](int64_t at, int64_t count, T* taken) {
        std::copy_n(ring + at * values, count * values, taken);
        std::fill_n(ring + at * values, count * values, T());
      };
      take(next, first, to);
      take(0, step_ - first, to + first * values);
      next = (next + step_) % length_;
      std::memset(y.mask_at(b, t * step_), *x.mask_at(b, t), static_cast<size_t>(step_));
    }
    position[b] = static_cast<int32_t>(next);
  }
  if (!direct) ops::convert(sums, DType::kFloat32, y.values, y.dtype, y.size());
  return y;
}

}  // namespace sl
