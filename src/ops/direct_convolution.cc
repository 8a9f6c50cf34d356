#include "ops/direct_convolution.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "core/step_team.h"
#include "kernels/direct_convolution.h"
#include "kernels/gemm.h"
#include "kernels/panel.h"
#include "ops/elementwise.h"

namespace sl::ops {
namespace {

// Maximum extent in time for which rows are padded one by one: a thread keeps those of so many
// frames.
constexpr int64_t kMaxExtent = 32;
// Maximum floats of the padded rows of frames that a thread keeps whole, so that they stay in the
// L2 cache. Otherwise it keeps the rows that one row of outputs covers.
constexpr int64_t kKeptFloats = 1 << 16;
// Floats of outputs that are computed before their activation, so few that they stay in the L1
// cache, and the minimum positions that make a product fast.
constexpr int64_t kBlockFloats = 1 << 12;
constexpr int64_t kBlockPositions = 48;
// Positions of one task of a convolution over time alone.
constexpr int64_t kTaskPositions = 256;
// Over time alone, runs of fewer inputs than this are too short for products of their own, and with
// so few inputs in all the weights of two panels stay in the L1 cache.
constexpr int64_t kShortRun = 32;
constexpr int64_t kFewInputs = 256;
// Positions at either end of a row that read a copy with padding, as many as a product takes at
// once, and the minimum positions of a row of which the others read the input itself.
constexpr int64_t kEdgePositions = 12;
constexpr int64_t kLongRow = 48;
// Inputs of so many floats do not stay in the L2 cache: a row is prefetched while the one before it
// is computed.
constexpr int64_t kLargeInput = int64_t{1} << 18;
// Outputs of so many floats are not read before they have left all caches.
constexpr int64_t kStreamed = int64_t{1} << 23;
// Minimum positions of a piece of a row.
constexpr int64_t kPiecePositions = 6;
// Positions of a row for each thread, if there are fewer of them than this, are so few that threads
// share the filters instead: what dominates is reading large weights, of which each reads a part.
constexpr int64_t kFewPositions = 24;
// Minimum work, in multiply-adds, for which threads pay.
constexpr int64_t kParallelWork = int64_t{1} << 18;

// Maximum number of parts into which the threads of a step divide a convolution. If it has fewer
// rows than the latter, these are divided.
constexpr int64_t kSharedParts = 16;
constexpr int64_t kSharedPieces = 8;

// Whether vectors of inputs are faster than vectors of filters. A sum over the lanes costs as much
// as 5 vectors of products.
bool prefers_dot(int64_t depth, int64_t all_inputs, int64_t filters) {
  constexpr int64_t kSumCost = 5;
  return depth >= kernels::kMinDotDepth && filters <= kernels::kMaxDotFilters &&
         filters * (ceil_div(all_inputs, kernels::kMinDotDepth) + kSumCost) < all_inputs;
}

// Length of the contiguous runs of inputs of one position.
int64_t run_depth(const std::vector<Window>& axes, int64_t groups, int64_t group_channels) {
  const bool contiguous = groups == 1 && axes.back().dilation == 1;
  return group_channels * (contiguous ? axes.back().kernel : 1);
}

}  // namespace

bool DirectConvolution::suits(const std::vector<Window>& axes, int64_t groups,
                              const Shape& kernel_shape) {
  const auto rank = static_cast<int>(axes.size());
  const int64_t group_channels = kernel_shape[rank];
  if (groups < 1 || kernel_shape.size() == 0) return false;
  if (groups > 1 && group_channels == 1) return false;  // depthwise
  if (rank > 1) return true;
  const int64_t depth = run_depth(axes, groups, group_channels);
  const int64_t inputs = axes[0].kernel * group_channels;
  if (depth < inputs && depth < kShortRun && inputs <= kFewInputs) return true;
  return prefers_dot(depth, inputs, kernel_shape.back() / groups);
}

DirectConvolution::DirectConvolution(std::vector<Window> axes, int64_t groups,
                                     const Shape& kernel_shape, const std::vector<float>& kernel,
                                     const std::vector<float>& bias)
    : axes_(std::move(axes)),
      groups_(groups),
      group_channels_(kernel_shape[static_cast<int>(rank())]),
      group_filters_(kernel_shape.back() / groups),
      depth_(run_depth(axes_, groups, group_channels_)),
      inner_runs_(axes_.back().kernel * group_channels_ / depth_),
      outer_runs_(kernel_shape.slice(0, static_cast<int>(rank()) - 1).size()) {
  dot_ = prefers_dot(depth_, run_count() * depth_, group_filters_);
  const int64_t width = kernels::panel_width();
  bias_pitch_ = ceil_div(group_filters_, width) * width;
  biases_.resize(static_cast<size_t>(2 * groups_ * bias_pitch_));
  set_bias(bias);
  pack(kernel);
}

void DirectConvolution::set_bias(const std::vector<float>& bias) {
  for (size_t f = 0; f < bias.size(); ++f) {
    const auto at = static_cast<int64_t>(f);
    biases_[static_cast<size_t>(at / group_filters_ * bias_pitch_ + at % group_filters_)] = bias[f];
  }
}

bool DirectConvolution::rescale(std::span<const float> factors) {
  auto* packed = reinterpret_cast<float*>(weights_.data());
  const int64_t inputs = run_count() * depth_, width = kernels::panel_width();
  for (int64_t group = 0; group < groups_; ++group, packed += packed_size_) {
    const auto own = factors.subspan(static_cast<size_t>(group * group_filters_),
                                     static_cast<size_t>(group_filters_));
    for (int64_t i = 0; i < packed_size_; ++i) {
      const int64_t filter = dot_ ? i / inputs : i / (inputs * width) * width + i % width;
      if (filter < group_filters_) packed[i] *= own[static_cast<size_t>(filter)];
    }
  }
  return true;
}

bool DirectConvolution::takes_whole_rows() const { return packed_size_ >= kernels::kLargeWeights; }

bool DirectConvolution::pads() const { return rank() > 1 && axes_[0].extent() <= kMaxExtent; }

void DirectConvolution::pack(const std::vector<float>& kernel) {
  const int64_t inputs = run_count() * depth_;
  packed_size_ = dot_ ? inputs * group_filters_ : kernels::packed_size(inputs, group_filters_);
  weights_ = Block(static_cast<size_t>(groups_ * packed_size_) * sizeof(float), Allocator());
  auto* packed = reinterpret_cast<float*>(weights_.data());
  for (int64_t group = 0; group < groups_; ++group, packed += packed_size_) {
    const float* first = kernel.data() + group * group_filters_;
    if (!dot_) {
      kernels::pack(first, filters(), 1, inputs, group_filters_, packed);
      continue;
    }
    for (int64_t i = 0; i < group_filters_ * inputs; ++i) {
      packed[i] = first[i % inputs * filters() + i / inputs];
    }
  }
}

// Neighbouring positions of a row.
struct DirectConvolution::Segment {
  int64_t first = 0;
  int64_t count = 0;
  int64_t copied = 0;  // floats of their inputs with padding if those are copied
};

struct DirectConvolution::Job {
  ConvolutionInput in;
  const Activation* activation;  // beside the minimum; null: none
  const float* biases;
  float* y;
  float minimum = -std::numeric_limits<float>::infinity();
  bool prefetches = false;
  bool streams = false;  // outputs
  std::array<int64_t, kMaxConvolutionRank> counts = {};
  int64_t rows = 1;  // rows of inputs in a frame, and their padding
  int64_t rows_before = 0;
  int64_t rows_step = 1;  // rows from those of one row of outputs to those of the next one
  int64_t row_size = 0;   // floats of a row of inputs, and those of the padding before it
  int64_t row_before = 0;
  std::array<Segment, kMaxSegments> segments = {};
  int64_t segment_count = 0;
  int64_t x_step = 0;     // floats from one position's inputs to the next one's
  int64_t slot_size = 0;  // floats that are copied of a row
  int64_t y_row = 0;      // floats of a row of outputs
  int64_t units = 0;      // rows of outputs of all items or, over time alone, parts of them
  int64_t parts = 1;      // units of one item

  void add(const Segment& segment) {
    segments[static_cast<size_t>(segment_count++)] = segment;
    slot_size += segment.copied;
  }
};

// The inputs of each segment of a row: in the input itself or, with padding, in copies, which are
// kept until others need their slots.
class DirectConvolution::Rows {
 public:
  // With slots for `heights` rows of `steps` frames.
  Rows(const Job& job, int64_t steps, int64_t heights, float* slots, int64_t* kept)
      : job_(job), steps_(steps), heights_(heights), slots_(slots), kept_(kept) {
    std::fill_n(slots_, steps_ * heights_ * job_.slot_size, 0.0f);
    std::fill_n(kept_, steps_ * heights_, -1);
  }

  // The values of row h of frame t of the padded input; null if they are all zero.
  std::array<const float*, kMaxSegments> at(int64_t item, int64_t t, int64_t h) {
    const ConvolutionInput& in = job_.in;
    t -= in.pads[0].before;
    h -= job_.rows_before;
    if (t < 0 || t >= in.sizes[0] || h < 0 || h >= job_.rows) return {};
    if (in.mask && !in.mask[item * in.sizes[0] + t]) return {};
    const float* x = row(item, t * job_.rows + h);
    float* copy = nullptr;
    bool is_new = false;
    if (steps_ > 0) {
      const int64_t slot = t % steps_ * heights_ + h % heights_;
      const int64_t number = (item * in.sizes[0] + t) * job_.rows + h;
      copy = slots_ + slot * job_.slot_size;
      is_new = std::exchange(kept_[slot], number) != number;
    }
    std::array<const float*, kMaxSegments> out = {};
    for (size_t i = 0; i < static_cast<size_t>(job_.segment_count); ++i) {
      const Segment& segment = job_.segments[i];
      const int64_t begin = segment.first * job_.x_step - job_.row_before;
      out[i] = segment.copied == 0 ? x + begin : copy;
      if (is_new) copy_inputs(x, begin, segment.copied, copy);
      copy += segment.copied;
    }
    return out;
  }

  // The inputs of the row that the next row of outputs needs, to be prefetched; null: there is
  // none, or it is in the cache.
  const float* ahead(int64_t item, int64_t t, int64_t h) const {
    const int64_t next =
        (t - job_.in.pads[0].before) * job_.rows + h - job_.rows_before + job_.rows_step;
    const bool exists = next >= 0 && next < (job_.in.sizes[0] + job_.in.following) * job_.rows;
    return job_.prefetches && exists ? row(item, next) : nullptr;
  }

 private:
  const float* row(int64_t item, int64_t index) const {
    return job_.in.x + item * job_.in.batch_pitch + index * job_.row_size;
  }
  // Copies those of [begin, begin + count) that lie in the row x.
  void copy_inputs(const float* x, int64_t begin, int64_t count, float* to) const {
    const int64_t from = std::max<int64_t>(begin, 0);
    const int64_t end = std::min(begin + count, job_.row_size);
    if (from < end)
      std::memcpy(to + from - begin, x + from, static_cast<size_t>(end - from) * sizeof(float));
  }

  const Job& job_;
  int64_t steps_;
  int64_t heights_;
  float* slots_;
  int64_t* kept_;  // number of the row in each slot; -1: none
};

DirectConvolution::Job DirectConvolution::job(const ConvolutionInput& in, bool with_bias,
                                              const Activation* activation, float* y) const {
  Job job{in, activation, biases_.data() + (with_bias ? 0 : groups_ * bias_pitch_), y};
  for (size_t i = 0; i < rank(); ++i) {
    job.counts[i] = axes_[i].count_in(in.sizes[i] + in.pads[i].before + in.pads[i].after);
  }
  const size_t last = rank() - 1;
  const Pads pads = in.pads[last];
  job.row_size = in.sizes[last] * channels();
  job.row_before = pads.before * channels();
  job.x_step = axes_[last].stride * channels();
  job.y_row = job.counts[last] * filters();
  divide_row(pads, job);
  if (activation && activation->is_elementwise() && activation->op == kernels::Unary::kRelu) {
    job.activation = nullptr;
    job.minimum = 0;
  }
  job.parts = rank() > 1 ? job.counts[0] : ceil_div(job.counts[0], kTaskPositions);
  if (rank() == 3) {
    job.rows = in.sizes[1];
    job.rows_before = in.pads[1].before;
    job.parts *= job.counts[1];
  }
  job.units = in.batch * job.parts;
  constexpr int64_t kLine = 16;  // floats
  const bool lines =
      reinterpret_cast<uintptr_t>(y) % (kLine * sizeof(float)) == 0 && group_filters_ % kLine == 0;
  job.streams = rank() > 1 && !job.activation && lines && job.units * job.y_row >= kStreamed;
  if (rank() > 1) job.rows_step = axes_[last - 1].stride;
  job.prefetches =
      rank() > 1 && (in.sizes[0] + in.following) * job.rows * job.row_size >= kLargeInput;
  return job;
}

// Divides a row, so that as few inputs as possible are copied.
void DirectConvolution::divide_row(const Pads& pads, Job& job) const {
  const Window& axis = axes_.back();
  const int64_t count = job.counts[rank() - 1];
  const auto segment = [&](int64_t first, int64_t positions, bool copies) {
    const int64_t inputs = (positions - 1) * axis.stride + axis.extent();
    job.add({first, positions, copies ? inputs * channels() : 0});
  };
  const bool copies = rank() > 1 && pads.before + pads.after > 0;
  const int64_t edge = kEdgePositions, end = count - edge;
  const bool inner_is_whole =
      edge * axis.stride >= pads.before &&
      (end - 1) * axis.stride + axis.extent() <= pads.before + job.row_size / channels();
  if (!copies || count < kLongRow || !inner_is_whole || takes_whole_rows())
    return segment(0, count, copies);
  segment(0, edge, true);
  segment(edge, end - edge, false);
  segment(end, edge, true);
}

DirectConvolution::Division DirectConvolution::divide(const Job& job, int64_t most) const {
  const int64_t groups = kernels::column_groups(group_filters_);
  const int64_t positions = job.counts[rank() - 1];
  const bool by_filters = takes_whole_rows() && !dot_ && groups > 1 &&
                          positions < kFewPositions * most &&
                          (!job.activation || job.activation->is_elementwise());
  if (by_filters) return {std::min(most, groups), true};
  return {std::clamp<int64_t>(positions / kPiecePositions, 1, most), false};
}

DirectConvolution::Piece DirectConvolution::piece(const Job& job, const Division& division,
                                                  int64_t index) const {
  const int64_t positions = job.counts[rank() - 1], pieces = division.pieces;
  if (division.by_filters) {
    return {0, positions, kernels::part_column(group_filters_, index, pieces),
            kernels::part_column(group_filters_, index + 1, pieces)};
  }
  return {positions * index / pieces, positions * (index + 1) / pieces, 0, group_filters_};
}

void DirectConvolution::convolve(Run& run, const ConvolutionInput& in, bool with_bias,
                                 const Activation* activation, float* y) const {
  const Job job = this->job(in, with_bias, activation, y);
  int64_t outputs = in.batch;
  for (size_t i = 0; i < rank(); ++i) outputs *= job.counts[i];
  if (outputs == 0) return;
  const int64_t weights = run_count() * depth_ * filters();
  run.parallel().count(2 * outputs * weights, weights * static_cast<int64_t>(sizeof(float)));
  const int64_t threads = run.parallel().num_threads();
  const bool shares = threads > 1 && outputs * weights >= kParallelWork;
  // Threads without rows of their own take pieces of them.
  const Division division = divide(job, shares && rank() > 1 ? ceil_div(threads, job.units) : 1);
  const int64_t count = job.units * division.pieces;
  const int64_t tasks = shares ? std::min(count, 4 * threads) : 1;
  const bool copies = job.slot_size > 0;
  const int64_t steps = copies ? axes_[0].extent() : 0;
  int64_t heights = job.rows;
  if (rank() == 3 && steps * heights * job.slot_size > kKeptFloats) {
    heights = std::min(axes_[1].extent(), heights);
  }
  auto* slots = run.scratch<float>(tasks, steps * heights, job.slot_size);
  auto* kept = run.scratch<int64_t>(tasks, steps * heights);
  auto* runs = run.scratch<const float*>(tasks, job.segment_count, run_count());
  if (run.parallel().team() && !copies && outputs * weights >= StepTeam::kMinConvolution &&
      share(*run.parallel().team(), job, runs)) {
    return;
  }
  run.parallel().each(tasks, [&](int64_t task) {
    const int64_t first = task * steps * heights;
    Rows rows(job, steps, heights, slots + first * job.slot_size, kept + first);
    for (int64_t i = count * task / tasks; i < count * (task + 1) / tasks; ++i) {
      compute_unit(job, i / division.pieces, piece(job, division, i % division.pieces), rows,
                   runs + task * job.segment_count * run_count());
    }
  });
}

// Trivially copyable: workers get a copy.
struct DirectConvolution::Shared {
  const DirectConvolution* convolution;
  const Job* job;
  const float** runs;  // for each part
  Division division;
  int64_t parts;

  // Calls fn(unit, piece) for the pieces of a part.
  template <typename Fn>
  void each(int64_t part, Fn&& fn) const {
    const int64_t pieces = division.pieces, count = job->units * pieces;
    for (int64_t i = count * part / parts; i < count * (part + 1) / parts; ++i)
      fn(i / pieces, convolution->piece(*job, division, i % pieces));
  }
  void compute(int64_t part, const float** own_runs) const {
    Rows rows(*job, 0, 0, nullptr, nullptr);
    each(part, [&](int64_t unit, const Piece& piece) {
      convolution->compute_unit(*job, unit, piece, rows, own_runs);
    });
  }
  // Copies the outputs of a part.
  void take(const Job& other, int64_t part) const {
    const int64_t all = convolution->filters(), own = convolution->group_filters_;
    each(part, [&](int64_t unit, const Piece& piece) {
      const int64_t begin = unit * job->y_row + piece.begin * all;
      const int64_t end = unit * job->y_row + piece.end * all;
      if (!division.by_filters) {
        std::copy(other.y + begin, other.y + end, job->y + begin);
        return;
      }
      for (int64_t i = begin; i < end; i += own) {
        std::copy(other.y + i + piece.first_filter, other.y + i + piece.last_filter,
                  job->y + i + piece.first_filter);
      }
    });
  }
  void part(int64_t, int64_t part, int64_t) const {
    compute(part, runs + part * convolution->run_count());
  }
};

bool DirectConvolution::share(const StepTeam& team, const Job& job, const float** runs) const {
  const ConvolutionInput& in = job.in;
  if (rank() == 1 || in.mask) return false;
  const Division division = divide(job, ceil_div(kSharedPieces, job.units));
  const int64_t parts = std::min(job.units * division.pieces, kSharedParts);
  if (parts < 2) return false;
  const int64_t x_size = (in.batch - 1) * in.batch_pitch + in.sizes[0] * job.rows * job.row_size;
  // Workers read and write their copies of the job, their runs, x and the outputs.
  const size_t job_bytes = align_up(sizeof(Job));
  const size_t runs_bytes = align_up(static_cast<size_t>(parts * run_count()) * sizeof(*runs));
  const size_t floats = static_cast<size_t>(x_size + job.units * job.y_row);
  if (job_bytes + runs_bytes + floats * sizeof(float) > StepTeam::kMemoryBytes) return false;
  const StepTeam::Turn turn(team);
  if (!turn.memory()) return false;
  Job* const copy = new (turn.memory()) Job(job);
  auto* const x = reinterpret_cast<float*>(turn.memory() + job_bytes + runs_bytes);
  std::copy_n(in.x, x_size, x);
  copy->in.x = x;
  copy->y = x + x_size;
  const Shared own{this, &job, runs, division, parts};
  turn.crew().run(
      Shared{this, copy, reinterpret_cast<const float**>(turn.memory() + job_bytes), division,
             parts},
      parts, [&](int64_t part) { own.compute(part, runs); },
      [&](int64_t part) { own.take(*copy, part); });
  return true;
}

void DirectConvolution::compute_unit(const Job& job, int64_t unit, const Piece& piece, Rows& rows,
                                     const float** runs) const {
  const int64_t item = unit / job.parts, part = unit % job.parts;
  if (rank() == 1) {
    const int64_t first = part * kTaskPositions;
    const int64_t count = std::min(kTaskPositions, job.counts[0] - first);
    point_runs(job.in.x + item * job.in.batch_pitch + first * job.x_step, runs);
    compute_row(job, runs, nullptr, {0, count, 0, group_filters_},
                job.y + (item * job.counts[0] + first) * filters());
    return;
  }
  const Window& time = axes_[0];
  const Window height = rank() == 3 ? axes_[1] : Window{};
  const int64_t heights = rank() == 3 ? job.counts[1] : 1;
  const int64_t t = part / heights * time.stride, h = part % heights * height.stride;
  const float** next = runs;
  for (int64_t k = 0; k < time.kernel; ++k) {
    for (int64_t i = 0; i < height.kernel; ++i, next += inner_runs_) {
      const auto inputs = rows.at(item, t + k * time.dilation, h + i * height.dilation);
      for (int64_t s = 0; s < job.segment_count; ++s)
        point_runs(inputs[static_cast<size_t>(s)], next + s * run_count());
    }
  }
  const float* const ahead = rows.ahead(item, t + time.extent() - 1, h + height.extent() - 1);
  float* const y = job.y + unit * job.y_row;
  for (int64_t s = 0; s < job.segment_count; ++s) {
    const Segment& segment = job.segments[static_cast<size_t>(s)];
    const float* const own = ahead ? ahead + segment.first * job.x_step - job.row_before : nullptr;
    Piece part = piece;
    part.begin = std::max<int64_t>(piece.begin - segment.first, 0);
    part.end = std::min(piece.end - segment.first, segment.count);
    compute_row(job, runs + s * run_count(), own, part, y + segment.first * filters());
  }
}

// Points to the runs of a position whose inputs begin at `row`; null: they are all zero.
void DirectConvolution::point_runs(const float* row, const float** runs) const {
  const int64_t step = axes_.back().dilation * channels();
  for (int64_t i = 0; i < inner_runs_; ++i) runs[i] = row ? row + i * step : nullptr;
}

// Computes a piece of a segment; `runs`, `ahead` and y point to those of its first position.
void DirectConvolution::compute_row(const Job& job, const float* const* runs, const float* ahead,
                                    const Piece& piece, float* y) const {
  const int64_t inputs = run_count() * depth_, first = piece.first_filter;
  const int64_t block = takes_whole_rows() ? piece.end - piece.begin
                                           : std::max(kBlockPositions, kBlockFloats / filters());
  for (int64_t at = piece.begin; at < piece.end; at += block) {
    kernels::ConvolutionRow row = {};
    row.runs = runs;
    row.run_count = run_count();
    row.depth = depth_;
    row.x_step = job.x_step;
    row.count = std::min(block, piece.end - at);
    row.y_step = filters();
    row.filters = piece.last_filter - first;
    row.minimum = job.minimum;
    row.streams = job.streams;
    for (int64_t group = 0; group < groups_; ++group) {
      row.offset = at * job.x_step + group * group_channels_;
      row.weights =
          reinterpret_cast<const float*>(weights_.data()) + group * packed_size_ + first * inputs;
      row.bias = job.biases + group * bias_pitch_ + first;
      row.y = y + at * filters() + group * group_filters_ + first;
      row.ahead = ahead && group == 0 ? ahead + at * job.x_step : nullptr;
      dot_ ? kernels::convolve_dot(row) : kernels::convolve_broadcast(row);
    }
    if (!job.activation) continue;
    if (row.filters == group_filters_) {
      activate_rows(y + at * filters(), row.count, filters(), *job.activation, DType::kFloat32);
      continue;
    }
    for (int64_t i = 0; i < row.count * groups_; ++i) {
      activate_rows(y + at * filters() + i * group_filters_ + first, 1, row.filters,
                    *job.activation, DType::kFloat32);
    }
  }
}

}  // namespace sl::ops
