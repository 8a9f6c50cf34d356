// Patterns of einops.rearrange, such as "(h d) t -> t h d", as strided views of an array.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "ops/rearrange.h"

namespace sl::ops {

class Einops {
 public:
  // Reads the fields "pattern" and "axes_lengths". Names in `reserved` are for axes that the
  // pattern does not show.
  Einops(Config& config, std::initializer_list<const char*> reserved);

  // The rearrangement of an input with the given shape and strides (in elements); `output` gets the
  // shape of the result. Fails with kShape if the input does not fit the pattern, and allocates
  // only in that case.
  StridedView view(const Shape& input, const Shape& strides, Shape* output) const;

  // Number of dimensions of the result, without those that "..." stands for.
  int output_rank() const;
  // Product of the lengths given in the config.
  int64_t given_lengths() const;

 private:
  static constexpr int kEllipsis = -1;

  // The axes of one dimension, or "..." outside of parentheses, which stands for several
  // dimensions.
  struct Group {
    std::vector<int> axes;
    bool is_ellipsis() const { return axes.size() == 1 && axes[0] == kEllipsis && !parenthesized; }
    bool parenthesized = false;
  };
  // Lengths and strides of the axes, and the input dimensions that "..." stands for.
  struct Solution {
    std::array<int64_t, Shape::kMaxRank> lengths;
    std::array<int64_t, Shape::kMaxRank> strides;
    int ellipsis_begin = 0;
    int ellipsis_count = 0;
  };

  std::vector<Group> parse(const Config& config, std::string_view side, bool is_input);
  int axis_named(const Config& config, const std::string& name, bool is_input);
  void check_sides(const Config& config) const;
  void read_lengths(Config& config);
  void check_lengths(const Config& config) const;
  Solution solve(const Shape& input, const Shape& strides) const;
  void solve_group(const Group& group, int64_t dim, int64_t stride, Solution* solution) const;

  std::string pattern_;
  std::vector<std::string> names_;
  std::vector<int64_t> given_;  // length of each axis from the config, 0 if the input determines it
  std::vector<Group> input_;
  std::vector<Group> output_;
  std::vector<std::string> reserved_;
};

}  // namespace sl::ops
