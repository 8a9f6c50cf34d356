#include "combinators/pieces.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

namespace sl {
namespace {

// Bytes of the largest result of a piece, and minimum steps of a piece. Where they need more bytes,
// pieces do not pay.
struct PieceSize {
  int64_t bytes;
  int64_t min_steps;

  int64_t steps(int64_t frame) const {
    return std::max(min_steps, bytes / std::max<int64_t>(frame, 1));
  }
};
// Two results fit into the L2 cache, beside tables.
constexpr PieceSize kSmallPiece = {48 << 10, 8};
// For a layer that reads weights for each piece: one result fits into the L2 cache beside them.
constexpr PieceSize kLargePiece = {128 << 10, 2};
// Maximum steps of the first layer's output for one step of the last layer's.
constexpr int64_t kMaxGroup = int64_t{1} << 16;
// Bytes of a result of a whole run from which on pieces pay.
constexpr int64_t kLargeResult = 512 << 10;
// Minimum pieces for each of several threads, since the first piece is computed before the others.
constexpr int64_t kMinPieces = 8;
constexpr int kRounds = 6;

PieceSize size_of_pieces(const Layer& first) {
  return first.in_pieces() == InPieces::kFirst ? kLargePiece : kSmallPiece;
}

// The input steps that a step of the output is made of if such groups do not overlap; otherwise 0.
int64_t group_of(const Layer& layer) {
  const int64_t group = layer.output_ratio().denominator();
  if (layer.output_ratio() != Ratio(1, group)) return 0;
  const ReceptiveFields fields = layer.receptive_field_per_step();
  const bool apart =
      fields.size() == 1 && fields[0] && fields[0]->start >= 0 && fields[0]->end < group;
  return apart ? group : 0;
}

int64_t frame_bytes(const ChannelSpec& spec) {
  return checked_product(spec.shape.size(), static_cast<int64_t>(size_of(spec.dtype)));
}

// The output of the layers for x, and the largest result on the way to it.
struct PiecePlan {
  PiecePlan(const Run& run, std::span<const Layer* const> layers, const Sequence& x)
      : spec(x.spec()), time(x.time) {
    // count_in_pieces has checked that the layers behind the first divide their input into groups.
    for (const Layer* layer : layers.subspan(1)) group *= layer->output_ratio().denominator();
    int64_t rest = group;
    for (const Layer* layer : layers) {
      if (layer != layers[0]) rest /= layer->output_ratio().denominator();
      time = layer->output_length(time, spec, run.constants());
      if (layer == layers[0]) first_time = time;
      spec = layer->output_spec(spec, run.constants());
      frame = std::max(frame, checked_product(rest, frame_bytes(spec)));
    }
  }
  ChannelSpec spec;
  int64_t time;
  int64_t first_time = 0;  // steps of the first layer's output
  int64_t group = 1;       // of them, those that a step of the last layer's output is made of
  int64_t frame = 0;       // bytes of the largest result for a step of the last layer's output
};

// Where parts of the pieces [1, count) begin, and count. Each round of one part for each thread has
// half of what is left, so that all threads end at about the same time, also if one begins late.
std::vector<int64_t> parts_of(int64_t count, int64_t threads) {
  std::vector<int64_t> ends = {1};
  for (int round = 1; ends.back() < count; ++round) {
    const int64_t rest = count - ends.back(), share = round < kRounds ? 2 * threads : threads;
    const int64_t part = threads == 1 ? rest : ceil_div(rest, share);
    for (int64_t i = 0; i < threads && ends.back() < count; ++i)
      ends.push_back(std::min(count, ends.back() + part));
  }
  return ends;
}

// The pieces of a run over x.
class Pieces {
 public:
  Pieces(Run& run, std::span<const Layer* const> layers, const Sequence& x)
      : run_(run), layers_(layers), x_(x) {
    const PiecePlan plan(run, layers, x);
    y_ = run.output(plan.spec, x.batch, plan.time);
    group_ = plan.group;
    first_time_ = plan.first_time;
    steps_ = size_of_pieces(*layers[0]).steps(plan.frame);
    per_item_ = ceil_div(y_.time, steps_);
  }

  // The first piece tells how much memory a piece needs, which depends on neither values nor masks.
  Sequence run() {
    const int64_t count = y_.batch * per_item_;
    size_t sizes[2];
    {
      Workspace workspace(*run_.workspace().allocator());
      run_piece(workspace, 0);
      for (const Side side : {Side::kA, Side::kB}) {
        sizes[static_cast<size_t>(side)] = align_up(workspace.on(side).peak());
      }
    }
    const std::vector<int64_t> ends = parts_of(count, run_.parallel().num_threads());
    const auto parts = std::ssize(ends) - 1;
    const auto bytes = static_cast<int64_t>(sizes[0] + sizes[1]);
    auto* const memory = run_.scratch<std::byte>(parts, bytes);
    auto* const taken = run_.scratch<uint8_t>(parts);
    std::fill_n(taken, parts, uint8_t{0});
    run_.parallel().each(parts, [&](int64_t part) {
      // As few memories are used as there are threads, so that they stay in the caches.
      int64_t index = 0;
      while (std::atomic_ref(taken[index]).exchange(1) != 0) ++index;
      std::byte* const own = memory + index * bytes;
      Workspace workspace(own, sizes[0], own + sizes[0], sizes[1]);
      const auto at = static_cast<size_t>(part);
      for (int64_t i = ends[at]; i < ends[at + 1]; ++i) run_piece(workspace, i);
      std::atomic_ref(taken[index]).store(0);
    });
    return y_;
  }

 private:
  void run_piece(Workspace& workspace, int64_t index) const {
    const int64_t b = index / per_item_, begin = index % per_item_ * steps_;
    const int64_t end = std::min(begin + steps_, y_.time);
    const Parallel alone;
    Run run(Mode::kLayer, workspace, alone, run_);
    if (run_.may_allocate()) run.allow_allocation();
    const Stack::Mark marks[] = {workspace.on(Side::kA).mark(), workspace.on(Side::kB).mark()};
    Side side = Side::kA;
    Sequence y = run.on_side(side, [&] {
      return layers_[0]->piece(run, x_, b, begin * group_, std::min(end * group_, first_time_));
    });
    for (const Layer* layer : layers_.subspan(1)) {
      if (layer->in_place() && run.on_side(side, [&] { return layer->overwrite(run, y); })) {
        continue;
      }
      y = call(run, *layer, y, other(side));
      workspace.on(side).release(marks[static_cast<size_t>(side)]);
      side = other(side);
    }
    std::memcpy(y_.frame(b, begin), y.values, y.bytes());
    std::memcpy(y_.mask_at(b, begin), y.mask, static_cast<size_t>(end - begin));
    workspace.on(side).release(marks[static_cast<size_t>(side)]);
  }

  Run& run_;
  std::span<const Layer* const> layers_;
  const Sequence& x_;
  Sequence y_;
  int64_t group_ = 1;
  int64_t first_time_ = 0;
  int64_t steps_ = 0;     // of a piece
  int64_t per_item_ = 0;  // pieces
};

}  // namespace

size_t count_in_pieces(std::span<const Layer* const> layers) {
  size_t count = 0;
  int64_t group = 1;
  for (const Layer* layer : layers) {
    const InPieces where = layer->in_pieces();
    if (where == InPieces::kNo || layer->returns_view()) break;
    if (count++ == 0) continue;
    const int64_t own = where == InPieces::kFirst ? 0 : group_of(*layer);
    if (own == 0 || own > kMaxGroup / group) return count - 1;
    group *= own;
  }
  return count;
}

bool pay_in_pieces(const Run& run, std::span<const Layer* const> layers, const Sequence& x) {
  if (run.mode() != Mode::kLayer || run.parallel().profile()) return false;
  if (!run.workspace().allocator()) return false;
  if (!layers[0]->takes_pieces_of(x.spec())) return false;
  const PiecePlan plan(run, layers, x);
  const PieceSize size = size_of_pieces(*layers[0]);
  const int64_t threads = run.parallel().num_threads();
  const int64_t count = checked_product(x.batch, ceil_div(plan.time, size.steps(plan.frame)));
  return plan.frame <= size.bytes / size.min_steps &&
         checked_product(x.batch, plan.time, plan.frame) >= kLargeResult &&
         (threads == 1 || count >= kMinPieces * threads);
}

Sequence run_in_pieces(Run& run, std::span<const Layer* const> layers, const Sequence& x) {
  return Pieces(run, layers, x).run();
}

}  // namespace sl
