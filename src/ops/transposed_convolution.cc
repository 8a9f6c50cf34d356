#include "ops/transposed_convolution.h"

#include <algorithm>
#include <utility>

#include "core/status.h"

namespace sl::ops {
namespace {

// Floats that one task of a thread fills.
constexpr int64_t kFillFloats = 1 << 14;

// Number of steps from an output of a phase back to its oldest input.
int64_t longest_lag(const TransposedWindow& axis, const TransposedWindow::Phase& phase) {
  return phase.lag + (phase.taps - 1) * axis.lag_step();
}

}  // namespace

TransposedConvolution::TransposedConvolution(std::vector<TransposedWindow> axes, int64_t groups,
                                             const Kernel& kernel, std::vector<float> bias)
    : axes_(std::move(axes)),
      channels_(kernel.shape[static_cast<int>(axes_.size())] * groups),
      filters_(kernel.shape.back()),
      bias_(std::move(bias)) {
  // All combinations of phases of the axes before the last one.
  std::vector<std::array<Phase, kMaxConvolutionRank>> outer(1);
  for (size_t i = 0; i < rank(); ++i) {
    const std::vector<Phase> phases = axes_[i].phases();
    has_gaps_ |= static_cast<int64_t>(phases.size()) < axes_[i].stride;
    for (const Phase& phase : phases) {
      pads_[i].before = std::max(pads_[i].before, longest_lag(axes_[i], phase));
      pads_[i].after = std::max(pads_[i].after, phase.surplus - phase.lag);
    }
    if (i + 1 == rank()) break;
    std::vector<std::array<Phase, kMaxConvolutionRank>> next;
    for (const auto& at : outer) {
      for (const Phase& phase : phases) {
        next.push_back(at);
        next.back()[i] = phase;
      }
    }
    outer = std::move(next);
  }
  const auto runs = this->runs(groups);
  for (const auto& at : outer) {
    for (const auto& run : runs) {
      parts_.push_back(make_part(at, run, groups, kernel));
    }
  }
}

// With several groups a run has only one phase, because the filters of one group are not contiguous
// over several phases.
std::vector<std::vector<TransposedWindow::Phase>> TransposedConvolution::runs(
    int64_t groups) const {
  std::vector<std::vector<Phase>> out;
  for (const Phase& phase : axes_.back().phases()) {
    const Phase* previous = out.empty() ? nullptr : &out.back().back();
    if (previous && groups == 1 && phase.phase == previous->phase + 1 &&
        phase.lag == previous->lag && phase.taps == previous->taps &&
        phase.surplus == previous->surplus) {
      out.back().push_back(phase);
    } else {
      out.push_back({phase});
    }
  }
  return out;
}

TransposedConvolution::Part TransposedConvolution::make_part(
    const std::array<Phase, kMaxConvolutionRank>& at, const std::vector<Phase>& run, int64_t groups,
    const Kernel& kernel) const {
  const size_t last = rank() - 1;
  std::array<Phase, kMaxConvolutionRank> phases = at;
  phases[last] = run.front();
  Shape shape;
  std::vector<Window> windows;
  for (size_t i = 0; i < rank(); ++i) {
    shape.push_back(phases[i].taps);
    windows.push_back({phases[i].taps, 1, axes_[i].lag_step(), {}});
  }
  const auto columns = static_cast<int64_t>(run.size());
  shape.push_back(channels_ / groups);
  shape.push_back(columns * filters_);
  std::vector<float> bias;
  for (int64_t column = 0; column < columns; ++column)
    bias.insert(bias.end(), bias_.begin(), bias_.end());
  const Kernel part = kernel.part(fmt::format("phase{}", parts_.size()), shape,
                                  [&] { return part_values(phases, run, shape, kernel); });
  return {phases, Convolution(std::move(windows), groups, part, std::move(bias))};
}

// The kernel [taps of the phases..., depth, phases of the run * filters] of a part.
std::vector<float> TransposedConvolution::part_values(std::array<Phase, kMaxConvolutionRank> phases,
                                                      const std::vector<Phase>& run,
                                                      const Shape& shape,
                                                      const Kernel& kernel) const {
  const std::vector<float> given = kernel.values();
  const auto columns = static_cast<int64_t>(run.size());
  const int64_t depth = shape[static_cast<int>(rank())];
  const int64_t positions = shape.slice(0, static_cast<int>(rank())).size();
  std::vector<float> values(static_cast<size_t>(shape.size()));
  for (int64_t column = 0; column < columns; ++column) {
    phases[rank() - 1] = run[static_cast<size_t>(column)];
    for (int64_t position = 0; position < positions; ++position) {
      // The offset of the tap in the given kernel, which is not flipped.
      int64_t from = 0, pitch = 1, rest = position;
      for (size_t i = rank(); i-- > 0;) {
        const int64_t taps = phases[i].taps, tap = taps - 1 - rest % taps;
        const int64_t flipped = phases[i].tap + tap * axes_[i].tap_step();
        from += (axes_[i].kernel - 1 - flipped) * pitch;
        pitch *= axes_[i].kernel;
        rest /= taps;
      }
      for (int64_t c = 0; c < depth; ++c) {
        std::copy_n(given.data() + (from * depth + c) * filters_, filters_,
                    values.data() + ((position * depth + c) * columns + column) * filters_);
      }
    }
  }
  return values;
}

void TransposedConvolution::fill(int64_t rows, bool with_bias, const Parallel& parallel,
                                 float* y) const {
  const bool biased = with_bias && !bias_.empty();
  const int64_t grain = std::max<int64_t>(1, kFillFloats / std::max<int64_t>(1, filters_));
  parallel.each(ceil_div(rows, grain), [&](int64_t i) {
    const int64_t end = std::min(rows, (i + 1) * grain);
    for (int64_t row = i * grain; row < end; ++row) {
      if (biased) {
        std::copy(bias_.begin(), bias_.end(), y + row * filters_);
      } else {
        std::fill_n(y + row * filters_, filters_, 0.0f);
      }
    }
  });
}

void TransposedConvolution::convolve(const ConvolutionInput& in,
                                     const std::array<int64_t, kMaxConvolutionRank>& lengths,
                                     bool with_bias, const Parallel& parallel, float* y) const {
  // Floats from one position to the next in the input and in y.
  std::array<int64_t, kMaxConvolutionRank> x_pitches = {}, y_pitches = {};
  int64_t x_pitch = channels_, y_pitch = filters_;
  for (size_t i = rank(); i-- > 0;) {
    x_pitches[i] = x_pitch;
    y_pitches[i] = y_pitch;
    x_pitch *= in.sizes[i];
    y_pitch *= axes_[i].output_length(lengths[i]);
  }
  if (y_pitch == 0) return;
  if (has_gaps_) fill(in.batch * (y_pitch / filters_), with_bias, parallel, y);
  for (const Part& part : parts_) {
    ConvolutionInput from = in;
    ConvolutionOutput to;
    to.y = y;
    to.batch_pitch = y_pitch;
    for (size_t i = 0; i < rank(); ++i) {
      const Phase& phase = part.at[i];
      const int64_t skipped = (pads_[i].before - longest_lag(axes_[i], phase)) * x_pitches[i];
      from.x += skipped;
      if (from.packed) from.packed += part.convolution.packed_offset(skipped);
      to.y += phase.phase * y_pitches[i];
      to.counts[i] = std::max<int64_t>(lengths[i] + phase.surplus, 0);
      to.pitches[i] = axes_[i].stride * y_pitches[i];
    }
    part.convolution.convolve(from, with_bias, parallel, to);
  }
}

}  // namespace sl::ops
