#include "ops/convolution.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/depthwise.h"

namespace sl::ops {
namespace {

// Minimum length of a run of inputs for a product of its own. Shorter runs are copied together.
constexpr int64_t kShortRun = 32;
// Floats of gathered inputs that are kept on the stack.
constexpr int64_t kGatherFloats = 4096;
// Rows per pass over the taps, so few that their outputs stay in the L2 cache.
constexpr int64_t kRowsPerPass = 192;
// A product of this many rows is fast. Among axes that have as many, the innermost one is best.
constexpr int64_t kEnoughRows = 24;
// Minimum work, in multiply-adds, and minimum rows of a block for which threads pay.
constexpr int64_t kParallelWork = int64_t{1} << 19;
constexpr int64_t kParallelRows = 48;

void copy_run(const float* from, int64_t count, float* to) {
  if (count >= 8) {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = from[i];
  }
}

}  // namespace

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
  const int64_t weights = kernel_positions_ * group_channels_ * filters_;
  parallel.count(2 * all_rows * weights, method_ == Method::kDepthwise
                                             ? weights * static_cast<int64_t>(sizeof(float))
                                             : panels_.sizes().count * panels_.matrix_bytes());
  // A task is one block of rows at one position on the other axes.
  int64_t blocks = 1, tasks = 1;
  const int64_t threads = parallel.num_threads();
  if (threads > 1 && all_rows * kernel_positions_ * group_channels_ * filters_ >= kParallelWork) {
    const int64_t wanted = ceil_div(4 * threads, plan.other_count);
    blocks = std::clamp<int64_t>(rows / kParallelRows, 1, wanted);
    tasks = std::min(plan.other_count * blocks, 4 * threads);
  }
  const int64_t units = plan.other_count * blocks;
  const float* bias = with_bias && !bias_.empty() ? bias_.data() : nullptr;
  parallel.each(tasks, [&](int64_t task) {
    for (int64_t unit = units * task / tasks; unit < units * (task + 1) / tasks; ++unit) {
      const int64_t begin = rows * (unit % blocks) / blocks;
      const int64_t end = rows * (unit % blocks + 1) / blocks;
      const float* from = in.x + begin * plan.rows.x_step;
      float* to = out.y + begin * plan.rows.y_step;
      int64_t position = unit / blocks;
      for (const OutputAxis& axis : plan.others) {
        if (position == 0) break;
        from += position % axis.count * axis.x_step;
        to += position % axis.count * axis.y_step;
        position /= axis.count;
      }
      compute(plan, {from, to, end - begin, plan.rows.x_step, plan.rows.y_step, bias});
    }
  });
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
        panels_.multiply(group * taps() + tap, x + tap_offset(plan, tap), rows.x_step, count, bias,
                         tap > 0, y, rows.y_step);
      }
    }
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
      panels_.multiply(group, gathered, depth, count, bias, false,
                       rows.y + first * rows.y_step + group * group_filters, rows.y_step);
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
