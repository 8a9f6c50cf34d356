#include "ops/convolution.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "core/step_team.h"
#include "kernels/depthwise.h"
#include "kernels/gemm.h"
#include "kernels/packed.h"

namespace sl::ops {
namespace {

// Minimum length of a run of inputs for a product of its own. Shorter runs are copied together.
constexpr int64_t kShortRun = 32;
// Floats of gathered inputs that are kept on the stack.
constexpr int64_t kGatherFloats = 4096;
// Rows per pass over the taps, so few that their outputs stay in the L2 cache.
constexpr int64_t kRowsPerPass = 192;
// Maximum taps of packed inputs whose products are added up at once.
constexpr int64_t kMaxSummedTaps = 16;
// A product of this many rows is fast. Among axes that have as many, the innermost one is best.
constexpr int64_t kEnoughRows = 24;
// Minimum work, in multiply-adds, and minimum rows of a block for which threads pay.
constexpr int64_t kParallelWork = int64_t{1} << 19;
constexpr int64_t kParallelRows = 48;
// Weights of so many bytes do not stay in a core's cache: threads share the filters, not the rows.
constexpr int64_t kLargeWeights = int64_t{1} << 20;
constexpr int64_t kManyRows = 128;
// Maximum parts into which the threads of a step divide a convolution, so many that they finish
// together, and bytes of weights that a part by filters has if there are enough.
constexpr int64_t kMaxStepParts = 16;
constexpr int64_t kPartBytes = int64_t{1} << 18;
// Maximum size of an input, in floats, that is packed as a whole.
constexpr int64_t kPackedInput = int64_t{1} << 19;

void copy_run(const float* from, int64_t count, float* to) {
  if (count >= 8) {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = from[i];
  }
}

}  // namespace

// A unit is one block of rows at one position on the other axes.
struct Convolution::Units {
  const Plan* plan;
  int64_t blocks;
  int64_t filters;  // of a group
  const std::byte* packed = nullptr;
  int64_t group_bytes = 0;

  int64_t count() const { return plan->other_count * blocks; }
  Rows at(int64_t unit, const float* x, float* y, const float* bias) const {
    const int64_t rows = plan->rows.count;
    const int64_t begin = rows * (unit % blocks) / blocks;
    const int64_t end = rows * (unit % blocks + 1) / blocks;
    Rows out{x + begin * plan->rows.x_step,
             y + begin * plan->rows.y_step,
             end - begin,
             plan->rows.x_step,
             plan->rows.y_step,
             bias,
             0,
             filters};
    int64_t position = unit / blocks;
    for (const OutputAxis& axis : plan->others) {
      if (position == 0) break;
      out.x += position % axis.count * axis.x_step;
      out.y += position % axis.count * axis.y_step;
      position /= axis.count;
    }
    if (packed) out.packed = packed + (out.x - x) / kernels::kRowGroup * group_bytes;
    return out;
  }
};

// Trivially copyable: workers get a copy.
struct Convolution::Job {
  const Convolution* convolution;
  Units units;
  const float* x;
  float* y;
  const float* bias;
  int32_t unit_parts;
  int32_t filter_parts;

  // Calls fn(rows, unit) for the units of a part.
  template <typename Fn>
  void each(int64_t part, Fn&& fn) const {
    const int64_t i = part % unit_parts, k = part / unit_parts, count = units.count();
    for (int64_t unit = count * i / unit_parts; unit < count * (i + 1) / unit_parts; ++unit) {
      Rows rows = units.at(unit, x, y, bias);
      rows.first_filter = first_filter(k);
      rows.last_filter = first_filter(k + 1);
      fn(rows, unit);
    }
  }
  int64_t first_filter(int64_t k) const {
    return kernels::part_column(units.filters, k, filter_parts);
  }
  void part(int64_t, int64_t part, int64_t) const {
    each(part, [&](const Rows& rows, int64_t) { convolution->compute(*units.plan, rows); });
  }
  // Copies the outputs of a part.
  void take(const Job& other, int64_t part) const {
    each(part, [&](const Rows& to, int64_t unit) {
      const Rows from = other.units.at(unit, other.x, other.y, nullptr);
      const int64_t count =
          filter_parts > 1 ? to.last_filter - to.first_filter : convolution->filters_;
      for (int64_t i = 0; i < to.count; ++i) {
        std::copy_n(from.y + i * from.y_step + to.first_filter, count,
                    to.y + i * to.y_step + to.first_filter);
      }
    });
  }
};

Convolution::Convolution(std::vector<Window> axes, int64_t groups, const Kernel& kernel,
                         std::vector<float> bias)
    : axes_(std::move(axes)),
      groups_(groups),
      group_channels_(kernel.shape[rank()]),
      filters_(kernel.shape.back()),
      kernel_positions_(kernel.shape.slice(0, rank()).size()),
      run_(group_channels_),
      bias_(std::move(bias)) {
  if (groups_ < 1) fail(Code::kWeights, "the kernel {} has no channels", to_string(kernel.shape));
  // Without dilation and groups, the inputs of the last dimension's taps are contiguous.
  int64_t inner = 1;
  if (groups_ == 1 && axes_.back().dilation == 1) inner = axes_.back().kernel;
  run_ *= inner;
  for (int64_t position = 0; position < kernel_positions_; position += inner) {
    std::array<int64_t, kMaxConvolutionRank> indices = {};
    int64_t rest = position;
    for (int i = rank() - 1; i >= 0; --i) {
      const Window& axis = axes_[static_cast<size_t>(i)];
      indices[static_cast<size_t>(i)] = rest % axis.kernel * axis.dilation;
      rest /= axis.kernel;
    }
    tap_indices_.push_back(indices);
  }
  if (groups_ > 1 && group_channels_ == 1) {
    method_ = Method::kDepthwise;
  } else if (taps() > 1 && run_ < kShortRun && taps() * run_ <= kGatherFloats) {
    method_ = Method::kGathered;
  }
  if (method_ == Method::kDepthwise) {
    depthwise_ = kernel.values();
  } else {
    panels_ = pack(kernel);
  }
}

Panels Convolution::pack(const Kernel& kernel) const {
  const int64_t products = method_ == Method::kGathered ? 1 : taps();
  const int64_t depth = kernel_positions_ * group_channels_ / products;
  const int64_t group_filters = filters_ / groups_;
  return kernel.panels(
      "", {groups_ * products, depth, group_filters}, [&](const Panels::Pack& pack) {
        const std::vector<float> values = kernel.values();
        for (int64_t i = 0; i < groups_ * products; ++i) {
          const int64_t group = i / products, product = i % products;
          pack(i, values.data() + product * depth * filters_ + group * group_filters, filters_, 1);
        }
      });
}

bool Convolution::rescale(std::span<const float> factors) {
  if (method_ != Method::kDepthwise) return false;
  for (size_t i = 0; i < depthwise_.size(); ++i) depthwise_[i] *= factors[i % factors.size()];
  return true;
}

// Plans the output positions, with the batch as the outermost dimension. Neighbouring dimensions
// with evenly spaced inputs and outputs are merged. The innermost remaining dimension with enough
// positions, or the largest if none has enough, provides the rows of the products.
Convolution::Plan Convolution::plan(const ConvolutionInput& in, const ConvolutionOutput& to) const {
  Plan out;
  std::array<OutputAxis, kMaxConvolutionRank + 1> all;
  int count = 0;
  const auto add = [&](const OutputAxis& axis) {
    if (axis.count == 1) return;
    OutputAxis* inner = count ? &all[static_cast<size_t>(count - 1)] : nullptr;
    if (inner && axis.x_step == inner->count * inner->x_step &&
        axis.y_step == inner->count * inner->y_step) {
      inner->count *= axis.count;
    } else {
      all[static_cast<size_t>(count++)] = axis;
    }
  };
  int64_t x_pitch = channels();
  for (int i = rank() - 1; i >= 0; --i) {
    const auto at = static_cast<size_t>(i);
    out.pitches[at] = x_pitch;
    add({to.counts[at], axes_[at].stride * x_pitch, to.pitches[at]});
    x_pitch *= in.sizes[at];
  }
  add({in.batch, in.batch_pitch, to.batch_pitch});
  int chosen = 0;
  for (int i = 1; i < count && all[static_cast<size_t>(chosen)].count < kEnoughRows; ++i) {
    if (all[static_cast<size_t>(i)].count > all[static_cast<size_t>(chosen)].count) chosen = i;
  }
  size_t other = 0;
  for (int i = 0; i < count; ++i) {
    const OutputAxis& axis = all[static_cast<size_t>(i)];
    if (i == chosen) {
      out.rows = axis;
    } else {
      out.others[other++] = axis;
      out.other_count *= axis.count;
    }
  }
  return out;
}

int64_t Convolution::tap_offset(const Plan& plan, int64_t tap) const {
  const auto& indices = tap_indices_[static_cast<size_t>(tap)];
  int64_t offset = 0;
  for (size_t i = 0; i < axes_.size(); ++i) offset += indices[i] * plan.pitches[i];
  return offset;
}

void Convolution::convolve(const ConvolutionInput& in, bool with_bias, const Parallel& parallel,
                           float* y) const {
  ConvolutionOutput out;
  out.y = y;
  out.batch_pitch = filters_;
  for (int i = rank() - 1; i >= 0; --i) {
    const auto at = static_cast<size_t>(i);
    out.counts[at] = axes_[at].count_in(in.sizes[at]);
    out.pitches[at] = out.batch_pitch;
    out.batch_pitch *= out.counts[at];
  }
  convolve(in, with_bias, parallel, out);
}

void Convolution::convolve(const ConvolutionInput& in, bool with_bias, const Parallel& parallel,
                           const ConvolutionOutput& out) const {
  const Plan plan = this->plan(in, out);
  const int64_t rows = plan.rows.count, all_rows = plan.other_count * rows;
  if (all_rows == 0) return;
  const int64_t work = all_rows * weights();
  parallel.count(2 * work, weight_bytes());
  const float* bias = with_bias && !bias_.empty() ? bias_.data() : nullptr;
  if (parallel.team() && share(*parallel.team(), plan, in, bias, out)) return;
  int64_t blocks = 1, tasks = 1;
  const int64_t threads = parallel.num_threads();
  if (threads > 1 && work >= kParallelWork) {
    const int64_t wanted = ceil_div(4 * threads, plan.other_count);
    blocks = std::clamp<int64_t>(rows / kParallelRows, 1, wanted);
    tasks = std::min(plan.other_count * blocks, 4 * threads);
  }
  Units units{&plan, blocks, filters_ / groups_};
  if (in.packed && takes_packed_rows()) {
    units.packed = in.packed;
    units.group_bytes = kernels::row_group_bytes(panels_.format());
  }
  if (groups_ == 1 && method_ != Method::kDepthwise) {
    // Threads without rows of their own take some of the filters.
    int64_t parts = work >= kParallelWork && tasks < threads ? threads : 1;
    // Large weights stay in the cache while all units use a part of them.
    if (tasks == 1 && plan.other_count > 1)
      parts = std::max(parts, ceil_div(weight_bytes(), kLargeWeights));
    if (parts > 1) return compute_by_filters(units, in, bias, parts, parallel, out.y);
  }
  parallel.each(tasks, [&](int64_t task) {
    const int64_t end = units.count() * (task + 1) / tasks;
    for (int64_t unit = units.count() * task / tasks; unit < end; ++unit) {
      compute(plan, units.at(unit, in.x, out.y, bias));
    }
  });
}

void Convolution::compute_by_filters(const Units& units, const ConvolutionInput& in,
                                     const float* bias, int64_t parts, const Parallel& parallel,
                                     float* y) const {
  parts = std::min(parts, kernels::column_groups(filters_));
  parallel.each(parts, [&](int64_t part) {
    for (int64_t unit = 0; unit < units.count(); ++unit) {
      Rows rows = units.at(unit, in.x, y, bias);
      rows.first_filter = kernels::part_column(filters_, part, parts);
      rows.last_filter = kernels::part_column(filters_, part + 1, parts);
      compute(*units.plan, rows);
    }
  });
}

int64_t Convolution::weight_bytes() const {
  return method_ == Method::kDepthwise ? weights() * static_cast<int64_t>(sizeof(float))
                                       : panels_.sizes().count * panels_.matrix_bytes();
}

int64_t Convolution::input_span(const Plan& plan, const ConvolutionOutput& out) const {
  int64_t span = channels();
  for (size_t i = 0; i < axes_.size(); ++i) {
    span += ((out.counts[i] - 1) * axes_[i].stride + axes_[i].extent() - 1) * plan.pitches[i];
  }
  return span;
}

bool Convolution::takes_packed_rows() const {
  return method_ == Method::kRuns && groups_ == 1 && channels() % kernels::kRowGroup == 0 &&
         kernels::row_group_bytes(panels_.format()) > 0;
}

int64_t Convolution::packed_input_bytes(const ConvolutionInput& in, bool is_shared) const {
  // Windows that do not overlap read each value once.
  const auto overlaps = [](const Window& axis) { return axis.stride < axis.extent(); };
  if (!takes_packed_rows() || (!is_shared && std::ranges::none_of(axes_, overlaps))) return 0;
  return packed_offset(std::min(in.batch * in.batch_pitch, kPackedInput));
}

ConvolutionInput Convolution::pack_input(const ConvolutionInput& in, std::byte* memory) const {
  ConvolutionInput out = in;
  const int64_t floats = in.batch * in.batch_pitch;
  if (floats > kPackedInput) return out;
  kernels::pack_row(panels_.format(), in.x, floats, memory);
  out.packed = memory;
  return out;
}

int64_t Convolution::packed_offset(int64_t floats) const {
  return floats / kernels::kRowGroup * kernels::row_group_bytes(panels_.format());
}

Convolution::Job Convolution::job(const Plan& plan, const float* x, float* y,
                                  const float* bias) const {
  const int64_t group_filters = filters_ / groups_, rows = plan.rows.count;
  const bool by_filters =
      groups_ == 1 && group_filters >= 2 * kernels::column_group() &&
      (rows == 1 || (plan.other_count * rows < kManyRows && weight_bytes() >= kLargeWeights));
  const int64_t blocks = by_filters ? 1 : std::min(rows, ceil_div(kMaxStepParts, plan.other_count));
  Job out{this, {&plan, blocks, group_filters}, x, y, bias, 1, 1};
  if (by_filters) {
    const int64_t parts = std::clamp<int64_t>(weight_bytes() / kPartBytes, 1, kMaxStepParts);
    out.filter_parts = static_cast<int32_t>(std::min(kernels::column_groups(group_filters), parts));
  } else {
    out.unit_parts = static_cast<int32_t>(std::min(out.units.count(), kMaxStepParts));
  }
  return out;
}

bool Convolution::share(const StepTeam& team, const Plan& plan, const ConvolutionInput& in,
                        const float* bias, const ConvolutionOutput& out) const {
  const int64_t all_rows = plan.other_count * plan.rows.count;
  if (method_ == Method::kDepthwise) return false;
  if (all_rows * weights() < StepTeam::kMinConvolution && weight_bytes() < kLargeWeights)
    return false;
  const int64_t x_size = (in.batch - 1) * in.batch_pitch + input_span(plan, out);
  const int64_t group_bytes = takes_packed_rows() ? kernels::row_group_bytes(panels_.format()) : 0;
  // Workers read and write their copies of the plan and x, and outputs without gaps.
  const size_t plan_bytes = align_up(sizeof(Plan));
  const size_t x_bytes =
      align_up(static_cast<size_t>(group_bytes > 0 ? x_size / kernels::kRowGroup * group_bytes
                                                   : x_size * int64_t{sizeof(float)}));
  const size_t y_bytes = static_cast<size_t>(all_rows * filters_) * sizeof(float);
  if (plan_bytes + x_bytes + y_bytes > StepTeam::kMemoryBytes) return false;
  const StepTeam::Turn turn(team);
  if (!turn.memory()) return false;
  Plan* const dense = new (turn.memory()) Plan(plan);
  dense->rows.y_step = filters_;
  int64_t step = plan.rows.count * filters_;
  for (OutputAxis& axis : dense->others) {
    axis.y_step = step;
    step *= axis.count;
  }
  std::byte* const x = turn.memory() + plan_bytes;
  Job own = job(plan, in.x, out.y, bias), shared = own;
  if (group_bytes > 0) {
    if (in.packed) {
      std::memcpy(x, in.packed, static_cast<size_t>(packed_offset(x_size)));
    } else {
      kernels::pack_row(panels_.format(), in.x, x_size, x);
    }
    own.units.packed = shared.units.packed = x;
    own.units.group_bytes = shared.units.group_bytes = group_bytes;
  } else {
    auto* const copy = reinterpret_cast<float*>(x);
    std::copy_n(in.x, x_size, copy);
    shared.x = copy;
  }
  shared.units.plan = dense;
  shared.y = reinterpret_cast<float*>(x + x_bytes);
  turn.crew().run(
      shared, int64_t{own.unit_parts} * own.filter_parts,
      [&](int64_t part) { own.part(0, part, 0); }, [&](int64_t part) { own.take(shared, part); });
  return true;
}

void Convolution::compute(const Plan& plan, const Rows& rows) const {
  switch (method_) {
    case Method::kRuns:
      return compute_runs(plan, rows);
    case Method::kGathered:
      return compute_gathered(plan, rows);
    case Method::kDepthwise:
      return compute_depthwise(plan, rows);
  }
}

void Convolution::compute_runs(const Plan& plan, const Rows& rows) const {
  if (rows.packed) return compute_packed(plan, rows);
  const int64_t group_filters = filters_ / groups_;
  // A single product needs no passes, since it splits its rows into blocks itself.
  const int64_t pass = taps() == 1 && groups_ == 1 ? rows.count : kRowsPerPass;
  for (int64_t first = 0; first < rows.count; first += pass) {
    const int64_t count = std::min(pass, rows.count - first);
    for (int64_t group = 0; group < groups_; ++group) {
      const float* x = rows.x + first * rows.x_step + group * group_channels_;
      float* y = rows.y + first * rows.y_step + group * group_filters;
      const float* bias = rows.bias ? rows.bias + group * group_filters : nullptr;
      for (int64_t tap = 0; tap < taps(); ++tap) {
        panels_.multiply_columns(group * taps() + tap, x + tap_offset(plan, tap), rows.x_step,
                                 count, rows.first_filter, rows.last_filter, bias, tap > 0, y,
                                 rows.y_step);
      }
    }
  }
}

void Convolution::compute_packed(const Plan& plan, const Rows& rows) const {
  std::array<int64_t, kMaxSummedTaps> offsets;
  for (int64_t first = 0; first < taps(); first += kMaxSummedTaps) {
    const int64_t count = std::min(kMaxSummedTaps, taps() - first);
    for (int64_t i = 0; i < count; ++i) {
      offsets[static_cast<size_t>(i)] = tap_offset(plan, first + i) / kernels::kRowGroup;
    }
    panels_.multiply_packed_rows(first, rows.packed, rows.x_step / kernels::kRowGroup,
                                 std::span(offsets).first(static_cast<size_t>(count)), rows.count,
                                 rows.first_filter, rows.last_filter, rows.bias, first > 0, rows.y,
                                 rows.y_step);
  }
}

void Convolution::compute_gathered(const Plan& plan, const Rows& rows) const {
  alignas(kAlignment) float gathered[kGatherFloats];
  const int64_t depth = taps() * run_;
  const int64_t pass = kGatherFloats / depth;
  const int64_t group_filters = filters_ / groups_;
  for (int64_t first = 0; first < rows.count; first += pass) {
    const int64_t count = std::min(pass, rows.count - first);
    for (int64_t group = 0; group < groups_; ++group) {
      const float* x = rows.x + first * rows.x_step + group * group_channels_;
      for (int64_t tap = 0; tap < taps(); ++tap) {
        const float* from = x + tap_offset(plan, tap);
        float* to = gathered + tap * run_;
        for (int64_t i = 0; i < count; ++i, from += rows.x_step, to += depth) {
          copy_run(from, run_, to);
        }
      }
      const float* bias = rows.bias ? rows.bias + group * group_filters : nullptr;
      panels_.multiply_columns(group, gathered, depth, count, rows.first_filter, rows.last_filter,
                               bias, false, rows.y + first * rows.y_step + group * group_filters,
                               rows.y_step);
    }
  }
}

void Convolution::compute_depthwise(const Plan& plan, const Rows& rows) const {
  const float* w = depthwise_.data();
  const int64_t multiplier = filters_ / groups_;
  // The taps of a single dimension are evenly spaced. Those of several dimensions are copied
  // together if there is room.
  const auto spread = [](const Window& axis) { return axis.kernel > 1; };
  const bool even = std::ranges::count_if(axes_, spread) <= 1;
  const int64_t tap_step = taps() > 1 ? tap_offset(plan, 1) : 0;
  alignas(kAlignment) float gathered[kGatherFloats];
  const bool gather = !even && taps() * groups_ <= kGatherFloats;
  for (int64_t i = 0; i < rows.count; ++i) {
    const float* x = rows.x + i * rows.x_step;
    float* y = rows.y + i * rows.y_step;
    if (even) {
      kernels::depthwise(x, tap_step, w, rows.bias, taps(), groups_, multiplier, y);
      continue;
    }
    if (gather) {
      for (int64_t tap = 0; tap < taps(); ++tap) {
        copy_run(x + tap_offset(plan, tap), groups_, gathered + tap * groups_);
      }
      kernels::depthwise(gathered, groups_, w, rows.bias, taps(), groups_, multiplier, y);
      continue;
    }
    for (int64_t f = 0; f < filters_; ++f) {
      float sum = rows.bias ? rows.bias[f] : 0.0f;
      const float* from = x + f / multiplier;
      for (int64_t tap = 0; tap < taps(); ++tap) {
        sum += from[tap_offset(plan, tap)] * w[tap * filters_ + f];
      }
      y[f] = sum;
    }
  }
}

}  // namespace sl::ops
