// RNN: a cell unrolled over time (reference: flax.linen.RNN). Invalid steps take no part, whichever
// they are: only valid ones are projected and stepped, the items with most of them first.
#include <algorithm>
#include <numeric>

#include "layers/recurrent/cell.h"
#include "ops/elementwise.h"
#include "ops/zoneout.h"

namespace sl {
namespace {

// The valid steps of a batch as rows: the first ones of all items, then the second ones, and so on.
struct Packing {
  int64_t* order;    // items by falling number of valid steps
  int64_t* counts;   // how many each has, in that order
  int64_t* lengths;  // up to the last valid step, by item
  int64_t* sources;  // of each row, the step b * time + t
  int64_t rows;
};

class Rnn final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : cell(config.nested_required("cell")),
          reverse(config.boolean("reverse", false)),
          keep_order(config.boolean("keep_order", false)) {
      if (config.boolean("time_major", false))
        config.error("time_major", "expected false: time-major arrays are passed by strides");
      config.ignore({"return_carry", "unroll", "variable_axes", "variable_broadcast",
                     "variable_carry", "split_rngs"});
    }
    Config cell;
    bool reverse, keep_order;
  };

  Rnn(Fields fields, const Init& init) : reverse_(fields.reverse), keep_order_(fields.keep_order) {
    const WeightScope weights = init.weights.child("cell");
    cell_ = make_dense_cell(fields.cell, weights);
    if (!cell_) cell_ = make_conv_lstm_cell(fields.cell, weights);
    if (cell_) {
      init.weights.reserve("cell", fields.cell.path());
      return;
    }
    layer_ = init.builder.build(fields.cell, init.weights, "cell");
    if (!layer_->supports_step() || layer_->block_size() != 1 ||
        layer_->output_ratio() != Ratio(1) || layer_->input_latency() != 0) {
      fields.cell.error("type", "expected a cell, or a layer that makes a step of each step");
    }
  }

  std::vector<const Layer*> children() const override {
    return layer_ ? std::vector<const Layer*>{layer_.get()} : std::vector<const Layer*>{};
  }
  bool supports_step() const override { return !reverse_; }
  ReceptiveFields receptive_field_per_step() const override {
    return {reverse_ ? StepRange{0, kInfinite} : StepRange{-kInfinite, 0}};
  }
  ChannelSpec output_spec(const ChannelSpec& input, const Constants& constants) const override {
    return cell_ ? cell_->output_spec(input, name()) : layer_->output_spec(input, constants);
  }
  std::optional<ChannelSpec> implied_input() const override {
    return cell_ ? cell_->implied_input() : layer_->implied_input();
  }

  void declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (layer_) {
      declaration.within(layer_->name(), layer_->name(),
                         [&] { layer_->declare(declaration, input); });
      return;
    }
    Shape shape{input.batch};
    for (const int64_t size : output_spec(input.channels, declaration.constants()).shape)
      shape.push_back(size);
    const double fill = cell_->first_carry();
    if (cell_->has_c()) declaration.state("carry.c", DType::kFloat32, shape, fill);
    declaration.state("carry.h", DType::kFloat32, shape, fill);
  }

  Sequence layer(Run& run, const Sequence& x) const override {
    if (layer_) return over_layer(run, x);
    const int64_t size = x.batch * output_spec(x.spec(), run.constants()).shape.size();
    auto* c = cell_->has_c() ? run.scratch<float>(size) : nullptr;
    auto* h = run.scratch<float>(size);
    if (c) std::fill(c, c + size, cell_->first_carry());
    std::fill(h, h + size, cell_->first_carry());
    return unroll(run, x, c, h);
  }

  Sequence step(Run& run, const Sequence& x) const override {
    if (layer_) return call(run, *layer_, x, run.side());
    auto* c = cell_->has_c() ? run.state<float>() : nullptr;
    auto* h = run.state<float>();
    return unroll(run, x, c, h);
  }

 private:
  Packing pack(Run& run, const Sequence& x) const {
    Packing p{run.scratch<int64_t>(x.batch), run.scratch<int64_t>(x.batch),
              run.scratch<int64_t>(x.batch), run.scratch<int64_t>(x.steps()), 0};
    auto* valid = run.scratch<int64_t>(x.batch);
    auto* cursor = run.scratch<int64_t>(x.batch);
    for (int64_t b = 0; b < x.batch; ++b) {
      const uint8_t* mask = x.mask_at(b, 0);
      valid[b] = std::count_if(mask, mask + x.time, [](auto m) { return m; });
      int64_t length = x.time;
      while (length > 0 && !mask[length - 1]) --length;
      p.lengths[b] = length;
      cursor[b] = reverse_ ? length - 1 : 0;
    }
    std::iota(p.order, p.order + x.batch, int64_t{0});
    std::sort(p.order, p.order + x.batch, [&](int64_t a, int64_t b) {
      return valid[a] != valid[b] ? valid[a] > valid[b] : a < b;
    });
    for (int64_t i = 0; i < x.batch; ++i) p.counts[i] = valid[p.order[i]];
    for (int64_t k = 0; x.batch > 0 && k < p.counts[0]; ++k) {
      for (int64_t i = 0; i < x.batch && p.counts[i] > k; ++i) {
        const int64_t b = p.order[i];
        int64_t& t = cursor[b];
        while (!*x.mask_at(b, t)) t += reverse_ ? -1 : 1;
        p.sources[p.rows++] = b * x.time + t;
        t += reverse_ ? -1 : 1;
      }
    }
    return p;
  }

  // c and h are [batch, ...], and hold the last valid step's when it returns; c may be null.
  Sequence unroll(Run& run, const Sequence& x, float* c, float* h) const {
    const ChannelSpec input = x.spec(), spec = output_spec(input, run.constants());
    const int64_t size = spec.shape.size(), z_size = cell_->projection_size(input.shape);
    const Sequence y = run.output_like(x, spec);
    float* out = spec.dtype == DType::kFloat32 ? y.floats() : run.scratch<float>(y.size());
    const Packing p = pack(run, x);
    const float* rows = gather(run, x, p);
    float* z = run.scratch<float>(x.steps() * z_size);
    float* scratch = run.scratch<float>(cell_->scratch_size(input.shape, x.steps()));
    cell_->project(run, rows, p.rows, input, scratch, z);
    float* sorted_c = c ? sorted(run, c, x.batch, size, p) : nullptr;
    float* sorted_h = sorted(run, h, x.batch, size, p);
    const float zoneout = cell_->zoneout();
    float* old_c = c && zoneout > 0 ? run.scratch<float>(x.batch * size) : nullptr;
    float* old_h = zoneout > 0 ? run.scratch<float>(x.batch * size) : nullptr;
    if (p.rows < x.steps()) std::fill(out, out + y.size(), 0.0f);
    int64_t active = x.batch;
    for (int64_t row = 0, k = 0; row < p.rows; row += active, ++k) {
      while (p.counts[active - 1] <= k) --active;
      if (old_c) std::copy_n(sorted_c, active * size, old_c);
      if (old_h) std::copy_n(sorted_h, active * size, old_h);
      cell_->advance(run, z + row * z_size, active, input, sorted_c, sorted_h, scratch);
      for (int64_t i = 0; i < active; ++i) {
        const int64_t to =
            reverse_ && !keep_order_ ? flipped(p.sources[row + i], x, p) : p.sources[row + i];
        std::copy_n(sorted_h + i * size, size, out + to * size);
      }
      if (old_c) ops::zone_out(zoneout, old_c, sorted_c, active * size, spec.dtype);
      if (old_h) ops::zone_out(zoneout, old_h, sorted_h, active * size, spec.dtype);
    }
    unsort(sorted_c, c, x.batch, size, p);
    unsort(sorted_h, h, x.batch, size, p);
    if (out != y.floats()) ops::convert(out, DType::kFloat32, y.values, spec.dtype, y.size());
    if (reverse_ && !keep_order_) {
      for (int64_t b = 0; b < x.batch; ++b)
        std::reverse(y.mask_at(b, 0), y.mask_at(b, p.lengths[b]));
    }
    return y;
  }

  // The valid steps' values, in the order of packing.
  const float* gather(Run& run, const Sequence& x, const Packing& p) const {
    const DType compute = cell_->compute(x.dtype);
    const float* values = ops::as_floats(run, x, compute);
    if (x.batch == 1 && p.rows == x.time && !reverse_) return values;
    const int64_t frame = x.frame_size();
    float* rows = run.scratch<float>(x.steps() * frame);
    for (int64_t r = 0; r < p.rows; ++r)
      std::copy_n(values + p.sources[r] * frame, frame, rows + r * frame);
    return rows;
  }

  static float* sorted(Run& run, const float* carry, int64_t batch, int64_t size,
                       const Packing& p) {
    float* to = run.scratch<float>(batch * size);
    for (int64_t i = 0; i < batch; ++i) std::copy_n(carry + p.order[i] * size, size, to + i * size);
    return to;
  }
  static void unsort(const float* carry, float* to, int64_t batch, int64_t size, const Packing& p) {
    if (!to) return;
    for (int64_t i = 0; i < batch; ++i) std::copy_n(carry + i * size, size, to + p.order[i] * size);
  }

  // Where a step goes when its sequence is flipped within its own length.
  static int64_t flipped(int64_t step, const Sequence& x, const Packing& p) {
    const int64_t b = step / x.time, t = step % x.time;
    return b * x.time + p.lengths[b] - 1 - t;
  }
  // The layer on the sequence, flipped if need be. What invalid steps do is the layer's matter.
  Sequence over_layer(Run& run, const Sequence& x) const {
    if (!reverse_) return call(run, *layer_, x, run.side());
    const Sequence flipped_x = run.scratch_sequence(x.spec(), x.batch, x.time);
    flip(x, x, flipped_x);
    const Sequence made = call(run, *layer_, flipped_x, other(run.side()));
    const Sequence y = run.output(made.spec(), made.batch, made.time);
    if (keep_order_) {
      flip(made, made, y);
    } else {
      std::copy_n(made.values, made.bytes(), y.values);
      std::copy_n(made.mask, made.steps(), y.mask);
    }
    return y;
  }
  // Each sequence of x within its length by `lengths`' mask.
  static void flip(const Sequence& x, const Sequence& lengths, const Sequence& y) {
    for (int64_t b = 0; b < x.batch; ++b) {
      int64_t length = x.time;
      while (length > 0 && !*lengths.mask_at(b, length - 1)) --length;
      for (int64_t t = 0; t < x.time; ++t) {
        const int64_t from = t < length ? length - 1 - t : t;
        std::copy_n(x.frame(b, from), x.frame_bytes(), y.frame(b, t));
        *y.mask_at(b, t) = *x.mask_at(b, from);
      }
    }
  }

  bool reverse_, keep_order_;
  std::unique_ptr<Cell> cell_;
  std::unique_ptr<Layer> layer_;  // any other layer in the place of a cell
};

SL_REGISTER_LAYER_AS(RNN, Rnn);

}  // namespace
}  // namespace sl
