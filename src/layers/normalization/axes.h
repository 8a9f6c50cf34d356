// The channel axes of normalization layers, one or several, and the parameters whose shape is that
// of these axes.
#pragma once

#include <algorithm>
#include <bit>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "layers/shape/channel_axes.h"
#include "layers/weights.h"

namespace sl {

inline DType read_float_dtype(Config& config, const char* field) {
  const DType dtype = config.dtype(field, DType::kFloat32);
  if (!is_float(dtype)) config.error(field, "expected a float dtype");
  return dtype;
}

class NormAxes {
 public:
  explicit NormAxes(std::vector<int64_t> axes) : axes_(std::move(axes)), given_(axes_.size()) {
    std::ranges::sort(axes_);
    axes_.erase(std::unique(axes_.begin(), axes_.end()), axes_.end());
  }

  // Reads the field "axis": a number or a list of numbers.
  static NormAxes read(Config& config) {
    config.note("axis", "integer or list of integers", "-1");
    NormAxes axes(config.has("axis") ? config.integers("axis") : std::vector<int64_t>{-1});
    config.ignore({"axis"});
    if (axes.size() > Shape::kMaxRank) {
      config.error("axis", fmt::format("expected at most {} axes", Shape::kMaxRank));
    }
    if (names_batch_or_time(axes.axes_)) {
      config.error("axis", "batch and time (0 and 1) are not channels");
    }
    return axes;
  }
  static NormAxes read_one(Config& config) {
    NormAxes axes({config.integer("axis", -Shape::kMaxRank, -1)});
    if (names_batch_or_time(axes.axes_)) {
      config.error("axis", "batch and time (0 and 1) are not channels");
    }
    return axes;
  }

  size_t size() const { return axes_.size(); }
  // Whether it is the last axis alone, of any channels.
  bool is_last() const { return axes_.size() == 1 && axes_[0] == -1; }
  bool has_duplicates(const Shape& channels) const {
    return static_cast<size_t>(std::popcount(bits(channels))) != given_;
  }
  // The axes as bits. An axis may be given twice, once from either end.
  uint32_t bits(const Shape& channels) const {
    uint32_t out = 0;
    for (const int64_t axis : axes_) out |= 1u << channel_axis(axis, channels);
    return out;
  }
  // The index of a single axis.
  int index(const Shape& channels) const { return channel_axis(axes_.front(), channels); }

  // Reads a parameter with the shape of the axes, which is checked as far as it is known without an
  // input.
  Tensor parameter(const WeightScope& weights, const char* name) const {
    const bool mixed = !axes_.empty() && axes_.front() < 0 && axes_.back() >= 0;
    if (!mixed) {
      return weights.get(name, Shape(std::vector<int64_t>(axes_.size(), kAnySize)));
    }
    const Tensor tensor = weights.get_any(name);
    if (!is_float(tensor.dtype)) {
      fail(Code::kWeights, "tensor \"{}\" is {}: expected floats", name, name_of(tensor.dtype));
    }
    return tensor;
  }
  // Fails unless a parameter has the shape that the input requires.
  static void check(const char* name, const Shape& parameter, const Shape& channels,
                    uint32_t bits) {
    Shape expected;
    for (int i = 0; i < channels.rank(); ++i) {
      if (bits >> i & 1u) expected.push_back(channels[i]);
    }
    if (parameter != expected) {
      fail(Code::kShape, "{} is {}: channels {} need {}", name, to_string(parameter),
           to_string(channels), to_string(expected));
    }
  }
  // The channels that a parameter implies, if the axes are the last ones.
  std::optional<ChannelSpec> implied_input(const Shape& parameter) const {
    const auto count = static_cast<int64_t>(axes_.size());
    for (int64_t i = 0; i < count; ++i) {
      if (axes_[static_cast<size_t>(i)] != i - count) return std::nullopt;
    }
    return ChannelSpec{DType::kFloat32, parameter};
  }

 private:
  std::vector<int64_t> axes_;  // in ascending order, without repetition
  size_t given_;
};

}  // namespace sl
